"""Small pictures as data URIs, so that a report needs no file beside it."""

from __future__ import annotations

import base64
import io
from pathlib import Path, PurePath

import numpy as np
from PIL import Image, ImageOps

LONG_SIDE = 96
QUALITY = 75


def thumbnail(root: Path | None, relative: str) -> str | None:
    """``root/relative`` as a JPEG data URI, at most 96 pixels long, turned as its EXIF says.

    None if there is no root, the file is missing or unreadable, or the path leads out of the root (a
    results document may come from somebody else, and must not pull in other pictures of this machine).
    """
    if root is None or not _stays_inside(relative):
        return None
    try:
        with Image.open(root / relative) as image:
            image.draft("RGB", (2 * LONG_SIDE, 2 * LONG_SIDE))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((LONG_SIDE, LONG_SIDE))
            return _data_uri(_opaque(upright))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _stays_inside(relative: str) -> bool:
    path = PurePath(relative)
    return bool(path.parts) and not path.anchor and ".." not in path.parts


def _opaque(image: Image.Image) -> Image.Image:
    """RGB; transparency over white, 16-bit and float greys stretched to what can be seen."""
    if image.mode.startswith(("I", "F")):
        return _stretched(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    values = np.asarray(image.convert("F"))
    low, high = float(values.min()), float(values.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return Image.fromarray(((values - low) * scale).astype(np.uint8))


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
