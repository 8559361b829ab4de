from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.contract import Contract, UnreadableImageError, decode, preprocess
from edgetl.contract.value import Interpolation
from edgetl.errors import InputError


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without noise, so that lossy formats stay close to it."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x / 11 + channel) * np.cos(y / 13 - channel) for channel in range(3)]
    return np.stack(waves, -1).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PIXELS = smooth(40, 50)
RGB = Image.fromarray(PIXELS)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 8),
        ("JPEG", {"quality": 98, "subsampling": 0}, 4),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 4),
        ("GIF", {}, 40),
    ],
)
def test_every_format(kind: str, options: dict[str, object], tolerance: int) -> None:
    image = decode(encoded(RGB, kind, **options))
    assert image.mode == "RGB" and image.size == (50, 40)
    assert np.abs(np.asarray(image).astype(int) - PIXELS).max() <= tolerance


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_comes_out_as_rgb(mode: str, contract: Contract) -> None:
    image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257) if mode == "I;16" else RGB.convert(mode)
    found = preprocess(image, contract)
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8 and found.flags.c_contiguous


def test_grey_is_repeated() -> None:
    grey = Image.fromarray(PIXELS[..., 0])
    assert np.array_equal(np.asarray(decode(encoded(grey, "PNG"))), np.repeat(PIXELS[..., :1], 3, axis=2))


def test_palette_keeps_its_colours() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    assert np.asarray(decode(encoded(image, "PNG"))).reshape(-1, 3).tolist() == [[10, 200, 30]] * 16


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_over_the_background(kind: str, contract: Contract) -> None:
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    image.paste((200, 0, 0, 128), (20, 0, 40, 40))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(image, kind, **options)
    white = np.asarray(decode(data))
    assert white[0, 0].tolist() == [255, 255, 255]
    assert np.abs(white[0, 39].astype(int) - [227, 127, 127]).max() <= 1
    black = preprocess(data, replace(contract, background=0))
    assert black[16, 0].tolist() == [0, 0, 0]


def test_transparent_palette_entry_is_background() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([9, 9, 9, 1, 2, 3])
    assert np.asarray(decode(encoded(image, "PNG", transparency=0)))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_jpeg_is_not_inverted() -> None:
    found = np.asarray(decode(encoded(Image.new("RGB", (16, 16), (200, 30, 40)).convert("CMYK"), "JPEG")))
    assert found[8, 8, 0] > 150 and found[8, 8, 1:].max() < 90


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    image = Image.new("RGB", (32, 16), "blue")
    image.paste("red", (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(image, kind, exif=exif))
    assert found.size == ((32, 16) if orientation < 5 else (16, 32))
    corners = {1: (0, 0), 2: (-1, 0), 3: (-1, -1), 4: (0, -1), 5: (0, 0), 6: (-1, 0), 7: (-1, -1), 8: (0, -1)}
    x, y = corners[orientation]
    red, _, blue = np.asarray(found)[y, x]
    assert red > 200 and blue < 60


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 32767, 65534, 65535]], np.uint16)
    found = np.asarray(decode(encoded(Image.fromarray(values), "PNG")))
    assert found[0, :, 0].tolist() == [0, 0, 1, 127, 255, 255]
    assert (found == found[..., :1]).all()


def test_pixels_without_a_defined_range_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="8 bits"):
        decode(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))
    with pytest.raises(UnreadableImageError, match="16-bit"):
        decode(Image.fromarray(np.full((4, 4), 70000, np.int32)))


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "TIFF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = np.asarray(decode(data))[8, 8]
        assert red > 200 and blue < 60


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_truncated_files_are_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8))
    data = encoded(noise, kind)
    for share in (0.05, 0.5, 0.9):
        with pytest.raises(UnreadableImageError):
            decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"just some text", b"<svg xmlns='x'/>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode(data)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_raise_nothing_else() -> None:
    rng = np.random.default_rng(0)
    messages: list[str] = []
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"):
        options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
        try:
            whole = encoded(RGB, kind, **options)
        except (KeyError, OSError):  # this Pillow can't write the format
            continue
        for turn in range(60):
            data = bytearray(whole)
            for place in rng.integers(0, 200 if turn % 2 else len(data), 3):
                data[min(place, len(data) - 1)] = rng.integers(0, 256)
            try:
                image = decode(bytes(data))
            except UnreadableImageError as error:
                messages.append(str(error))
            else:
                assert image.mode == "RGB"
    assert messages and not any("\n" in message for message in messages)


def test_missing_file_and_folder_are_no_damaged_images(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.png", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"{path} cannot be read: {why}") as caught:
            decode(path)
        assert not isinstance(caught.value, UnreadableImageError)


def test_a_damaged_file_whose_decoder_seeks_astray_is_damaged(tmp_path: Path) -> None:
    """A file answers an impossible seek with an error of the system, as if the disk could not be read."""
    whole = encoded(RGB, "JPEG2000")
    path = tmp_path / "a.jp2"
    path.write_bytes(whole.replace(b"\x14ftyp", b"\x01ftyp"))
    with pytest.raises(UnreadableImageError):
        decode(path)


def test_lazily_opened_truncated_image_is_refused() -> None:
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)), "PNG")
    with pytest.raises(UnreadableImageError):
        decode(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_path_bytes_image_and_array_agree(tmp_path: Path, contract: Contract) -> None:
    path = tmp_path / "a.png"
    RGB.save(path)
    wanted = preprocess(PIXELS, contract)
    for source in (path, str(path), path.read_bytes(), RGB):
        assert np.array_equal(preprocess(source, contract), wanted)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_wrong_arrays_are_refused(array: np.ndarray, contract: Contract) -> None:
    with pytest.raises(UnreadableImageError, match="uint8"):
        preprocess(array, contract)


SIZES = [(37, 53), (53, 37), (101, 100), (64, 427), (33, 300), (36, 90), (31, 31), (36, 36), (240, 321)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "shorter"), [(32, 36), (31, 36), (33, 36), (36, 36), (65, 74)])
def test_resize_and_crop_are_torchvisions(
    size: tuple[int, int], interpolation: Interpolation, side: int, shorter: int
) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    contract = Contract(side, side, "shorter", shorter, interpolation, (0, 0, 0), (1, 1, 1))
    pixels = smooth(*size)
    theirs = transforms.Compose(
        [
            transforms.Resize(shorter, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(side),
        ]
    )(Image.fromarray(pixels))
    difference = np.abs(np.asarray(theirs).astype(int) - preprocess(pixels, contract))
    # rounding: only the window that the crop keeps is resampled
    assert difference.max() <= 2 and (difference > 0).mean() < 0.2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_stretch_is_torchvisions_bit_for_bit(size: tuple[int, int], interpolation: Interpolation) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    contract = Contract(29, 43, "stretch", 0, interpolation, (0, 0, 0), (1, 1, 1))
    pixels = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), np.uint8)
    resize = transforms.Resize((29, 43), transforms.InterpolationMode(interpolation))
    assert np.array_equal(preprocess(pixels, contract), np.asarray(resize(Image.fromarray(pixels))))


def test_a_very_long_picture_does_not_need_much_memory(contract: Contract) -> None:
    assert preprocess(np.zeros((1, 60000, 3), np.uint8), contract).shape == (32, 32, 3)
