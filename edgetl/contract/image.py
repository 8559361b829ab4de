"""From an encoded picture to ``uint8 [H, W, 3]``: the same Pillow code at training and on the device."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from edgetl.contract.value import Contract
from edgetl.errors import InputError

UInt8 = npt.NDArray[np.uint8]
Source = str | Path | bytes | Image.Image | UInt8

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


class UnreadableImageError(InputError):
    """A picture that can't be decoded; the message is the reason, without the path."""


def preprocess(source: Source, contract: Contract) -> UInt8:
    """Decode, orient, resize and crop one picture.

    Args:
        source: path, encoded bytes, Pillow image, or ``uint8 [h, w, 3]`` RGB array.

    Returns:
        ``uint8 [contract.height, contract.width, 3]``, RGB, C-contiguous.

    Raises:
        UnreadableImageError: if the picture is damaged or of an unsupported kind.
        InputError: if its file can't be read, which says nothing of the picture.
    """
    return np.asarray(fit(decode(source, contract.background), contract))


def decode(source: Source, background: int = 255) -> Image.Image:
    """An RGB image, upright, 8 bits a channel; transparency laid over ``background``; first frame only.

    Raises:
        UnreadableImageError: if the picture is damaged or of an unsupported kind.
        InputError: if its file can't be read, which says nothing of the picture.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    try:
        if isinstance(source, Image.Image):
            return _to_rgb(source, background)
        with Image.open(BytesIO(source if isinstance(source, bytes) else _read(source))) as image:
            image.load()
            return _to_rgb(image, background)
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image, or of an unknown format") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("too many pixels (possible decompression bomb)") from error
    except InputError:
        raise
    except Exception as error:  # plugins let their libraries' errors through, whatever these are
        raise UnreadableImageError(f"damaged image: {' '.join(str(error).split())}") from error


def _read(path: str | Path) -> bytes:
    """A whole file, so that none of the decoder's errors can be the disk's."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def fit(image: Image.Image, contract: Contract) -> Image.Image:
    """Resize and crop as the contract says; the sizes round as torchvision's transforms do.

    Only the window that the crop keeps is resampled, which halves the time for photographs. Against
    resizing the whole picture first, pixels differ by the rounding of Pillow's intermediate pass: up to
    two levels on smooth pictures, more on noise.
    """
    resample = _FILTERS[contract.interpolation]
    if contract.resize == "stretch":
        return image.resize((contract.width, contract.height), resample)
    width, height = image.size
    target = contract.resize_to
    if width <= height:
        size = (target, max(target, int(target * height / width)))
    else:
        size = (max(target, int(target * width / height)), target)
    left = round((size[0] - contract.width) / 2)
    top = round((size[1] - contract.height) / 2)
    right, bottom = left + contract.width, top + contract.height
    if size == image.size:
        return image.crop((left, top, right, bottom))
    across, down = width / size[0], height / size[1]
    window = (left * across, top * down, right * across, bottom * down)
    return image.resize((contract.width, contract.height), resample, box=window)


def _from_array(array: UInt8) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UnreadableImageError(f"array must be uint8 [h, w, 3], not {array.dtype} {list(array.shape)}")
    return Image.fromarray(array)


def _to_rgb(image: Image.Image, background: int) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode in _SIXTEEN_BIT:
        return _from_sixteen_bit(np.asarray(image))
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImageError(
                "32-bit integer pixels beyond the 16-bit range have no defined brightness"
            )
        return _from_sixteen_bit(values)
    if image.mode == "F":
        raise UnreadableImageError(
            "floating-point pixels have no defined brightness range; convert to 8 bits"
        )
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        base = Image.new("RGBA", layer.size, (background, background, background, 255))
        return Image.alpha_composite(base, layer).convert("RGB")
    return image.convert("RGB")


def _from_sixteen_bit(values: npt.NDArray[np.integer]) -> Image.Image:
    """Scale 0..65535 to 0..255, rounding to nearest, and repeat the grey channel."""
    grey = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
