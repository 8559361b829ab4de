from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.reporting.thumbnails import thumbnail


def decoded(uri: str | None) -> Image.Image:
    assert uri is not None
    assert uri.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_turned_as_exif_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200), "blue")
    image.paste("red", (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif)
    upright = decoded(thumbnail(tmp_path, "x.jpg"))
    assert upright.size == (48, 96)
    red, _, blue = upright.getpixel((24, 8))
    assert red > 200
    assert blue < 60


def test_small_pictures_are_not_enlarged(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 128).save(tmp_path / "digit.png")
    assert decoded(thumbnail(tmp_path, "digit.png")).size == (8, 8)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(tmp_path / "x.png")
    assert min(decoded(thumbnail(tmp_path, "x.png")).getpixel((25, 25))) > 250


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(1000, 5000, 96, dtype=np.uint16), (96, 1))
    Image.fromarray(ramp).save(tmp_path / "x.png")
    values = np.asarray(decoded(thumbnail(tmp_path, "x.png")).convert("L"))
    assert values[:, :4].mean() < 20
    assert values[:, -4:].mean() > 235


@pytest.mark.parametrize(
    "path", ["missing.jpg", "", ".", "../outside.jpg", "a/../../outside.jpg", "broken.jpg"]
)
def test_none_where_there_is_no_picture(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "outside.jpg")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    assert thumbnail(root, path) is None
    assert thumbnail(root, str(tmp_path / "outside.jpg")) is None
    assert thumbnail(None, path) is None
