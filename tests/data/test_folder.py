from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.data import Skipped, list_images, scan_folder
from edgetl.data.folder import MAX_PIXELS
from edgetl.errors import InputError


def picture(path: Path, n: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (n % 256, n // 256 % 256, 7)).save(path)
    return path


def two_classes(root: Path) -> Path:
    for n in range(4):
        picture(root / "ab"[n % 2] / f"{n}.png", n)
    return root


def reasons(folder: Path) -> dict[str, str]:
    return {entry.path: entry.reason for entry in list_images(folder)[1]}


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder in which file permissions hold, even where the tests are run by root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        two_classes(folder)
        scan_folder(folder)  # loads Pillow's plugins while they can be read
        locked = [picture(folder / "a" / "locked.png", 9), folder / "b" / "sealed"]
        locked[1].mkdir()
        for path in locked:
            path.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            locked[1].chmod(0o700)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "MPO"])
def test_every_format_is_known_by_content_whatever_its_name(tmp_path: Path, kind: str) -> None:
    image = Image.effect_noise((16, 12), 50).convert("RGB")
    options = {"append_images": [image], "save_all": True} if kind == "MPO" else {}
    for name in ("right.bin", "noext", "wrong.txt"):
        image.save(tmp_path / name, format=kind, **options)
    with Image.open(tmp_path / "noext") as back:
        assert back.format == kind
    assert list_images(tmp_path) == ([tmp_path / n for n in ("noext", "right.bin", "wrong.txt")], [])


def test_modes_are_accepted(tmp_path: Path) -> None:
    base = Image.effect_noise((9, 7), 60)
    base.save(tmp_path / "l.png")
    base.convert("P").save(tmp_path / "p.png")
    base.convert("RGBA").save(tmp_path / "rgba.png")
    base.convert("1").save(tmp_path / "bilevel.tiff")
    base.convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.arange(63, dtype=np.uint16).reshape(7, 9) * 1000).save(tmp_path / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    base.save(tmp_path / "rotated.jpg", exif=exif)
    with Image.open(tmp_path / "sixteen.png") as back:
        assert back.mode == "I;16"
    images, skipped = list_images(tmp_path)
    assert len(images) == 7 and skipped == []


def test_what_is_no_image_is_listed_with_a_plain_reason(tmp_path: Path) -> None:
    picture(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("not a picture at all")
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "noise.png").write_bytes(bytes(range(256)))
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    (tmp_path / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    Image.new("RGB", (16, 16)).save(tmp_path / "icon.png", format="ICO")
    Image.new("RGB", (16, 16)).save(tmp_path / "plain.ppm")
    unknown = "not an image (text or unknown content)"
    assert reasons(tmp_path) == {
        "text.jpg": unknown,
        "zero.png": "empty file",
        "noise.png": unknown,
        "cut.png": unknown,
        "phone.heic": "unsupported format HEIC",
        "icon.png": "unsupported format ICO",
        "plain.ppm": "unsupported format PPM",
    }


def test_truncated_picture_passes_the_header_check(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((200, 200), 80).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    assert list_images(tmp_path) == ([path], [])


@pytest.mark.parametrize(("side", "fits"), [(9_500, True), (13_377, True), (13_378, False), (30_000, False)])
def test_pixel_limit(tmp_path: Path, side: int, fits: bool) -> None:
    (tmp_path / "big.png").write_bytes(png_header(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, skipped = list_images(tmp_path)
    assert (side * side <= MAX_PIXELS) is fits
    if fits:
        assert len(images) == 1
    else:
        reason = f"Image size ({side * side} pixels) exceeds limit of {MAX_PIXELS} pixels"
        assert skipped == [Skipped("big.png", reason)]


def test_pixel_limit_holds_where_a_program_lifted_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "big.png").write_bytes(png_header(20_000, 20_000))
    reason = f"Image size (400000000 pixels) exceeds limit of {MAX_PIXELS} pixels"
    assert reasons(tmp_path) == {"big.png": reason}


def test_damaged_headers_never_raise(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"):
        source = tmp_path / "source"
        Image.effect_noise((16, 16), 50).save(source, format=kind)
        original = np.frombuffer(source.read_bytes(), np.uint8)
        for n in range(40):
            damaged = original.copy()
            damaged[random.integers(0, min(64, damaged.size), 4)] = random.integers(0, 256, 4)
            (tmp_path / f"{kind}{n}").write_bytes(damaged.tobytes())
    images, skipped = list_images(tmp_path)
    assert len(images) + len(skipped) == 241
    assert skipped and all(entry.reason and "\n" not in entry.reason for entry in skipped)


def test_permissions(as_nobody: Path) -> None:
    scan = scan_folder(as_nobody)
    assert [len(folder.samples) for folder in scan.folders] == [2, 2]
    assert scan.folders[0].skipped == (Skipped("a/locked.png", "cannot be read (Permission denied)"),)
    assert scan.folders[1].skipped == (Skipped("b/sealed", "folder cannot be read (Permission denied)"),)
    with pytest.raises(InputError, match=r"sealed cannot be read \(Permission denied\); check its"):
        list_images(as_nobody / "b" / "sealed")


def test_symbolic_links(tmp_path: Path) -> None:
    outside = picture(tmp_path / "outside" / "o.png")
    root = tmp_path / "root"
    inside = picture(root / "b" / "i.png", 1)
    (root / "a").mkdir()
    links = {
        "a/file_out": outside,
        "a/folder_out": outside.parent,
        "a/gone": root / "nowhere",
        "a/me": root / "a/me",
        "a/up": root,
        "a/file_in": inside,
        "a/folder_in": root / "b",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    images, skipped = list_images(root)
    assert images == [root / "a/file_in", inside]
    assert {entry.path: entry.reason for entry in skipped} == {
        "a/file_out": "symbolic link leads outside the folder",
        "a/folder_out": "symbolic link leads outside the folder",
        "a/gone": "symbolic link to a missing file",
        "a/me": "symbolic link cannot be followed (Too many levels of symbolic links)",
        "a/up": "symbolic link to a folder is not followed",
        "a/folder_in": "symbolic link to a folder is not followed",
    }


def test_root_may_be_a_link(tmp_path: Path) -> None:
    real = two_classes(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    assert scan_folder(tmp_path / "link") == scan_folder(real)


def test_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert reasons(tmp_path) == {"pipe.png": "not a regular file"}


def test_system_leftovers_are_ignored_quietly(tmp_path: Path) -> None:
    two_classes(tmp_path)
    for name in (".hidden/x.png", "__MACOSX/a/y.png", "a/.thumbs/z.png", "a/__MACOSX/w.png"):
        picture(tmp_path / name)
    for name in (".DS_Store", "Thumbs.db", "a/thumbs.db", "a/desktop.ini", "b/._1.png"):
        (tmp_path / name).write_bytes(b"junk")
    scan = scan_folder(tmp_path)
    assert scan.classes == ("a", "b") and scan.stray == ()
    assert [(len(f.samples), f.skipped) for f in scan.folders] == [(2, ()), (2, ())]


def test_nested_folders_and_order(tmp_path: Path) -> None:
    names = ["b.png", "a/z.png", "a/b/c/d.png", "a-x/1.png", "Z.png", "a.png"]
    for n, name in enumerate(names):
        picture(tmp_path / name, n)
    images, _ = list_images(tmp_path)
    order = ["Z.png", "a/b/c/d.png", "a/z.png", "a-x/1.png", "a.png", "b.png"]
    assert [path.relative_to(tmp_path).as_posix() for path in images] == order


def test_deep_nesting(tmp_path: Path) -> None:
    folders = [tmp_path]
    for _ in range(1200):  # past Python's recursion limit
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    image = picture(folders[-1] / "x.png")
    assert list_images(tmp_path) == ([image], [])
    image.unlink()
    for folder in reversed(folders[1:]):  # pytest's own clean-up recurses
        folder.rmdir()


def test_digest_is_the_files_sha256(tmp_path: Path) -> None:
    big = two_classes(tmp_path) / "a" / "0.png"
    big.write_bytes(big.read_bytes() + b"\0" * 3_000_000)
    samples = scan_folder(tmp_path).folders[0].samples
    expected = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "a").iterdir()}
    assert {s.path: s.digest for s in samples} == expected


def test_file_names_that_are_not_text(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9\n.jpg", "wb") as file:
        file.write(b"words")
    (entry,) = list_images(tmp_path)[1]
    assert entry.path == "caf\\udce9\\n.jpg" and entry.path.encode()


def test_progress_counts_every_file(tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / "a" / "notes.txt").write_text("words")
    calls: list[tuple[int, int]] = []
    scan_folder(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 5) for n in range(1, 6)]


def test_many_files_in_order_and_no_thread_left(tmp_path: Path) -> None:
    before = threading.active_count()
    content = picture(tmp_path / "a" / "0000.png").read_bytes()
    (tmp_path / "b").mkdir()
    for n in range(1500):
        (tmp_path / "ab"[n % 2] / f"{n:04}.png").write_bytes(content + n.to_bytes(2, "big"))
    scan = scan_folder(tmp_path)
    names = [s.path.name for folder in scan.folders for s in folder.samples]
    assert names == [f"{n:04}.png" for start in (0, 1) for n in range(start, 1500, 2)]
    assert threading.active_count() == before


def test_list_images_needs_a_folder(tmp_path: Path) -> None:
    file = picture(tmp_path / "file.png")
    with pytest.raises(InputError, match="is a file; give the folder"):
        list_images(file)
    with pytest.raises(InputError, match="does not exist"):
        list_images(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert list_images(tmp_path / "empty") == ([], [])
