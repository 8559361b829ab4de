"""Find the images in a folder: its layout, every file's header and hash, and what is skipped and why.

Whether a file is an image is decided by its content, not by its name. Only headers are read here, so a
picture cut short passes; it is found when it is decoded (see :meth:`edgetl.data.Dataset.without`).
"""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from edgetl.data.dataset import ClassFolder, Sample, Scan, Skipped, in_path_order, printable, relative
from edgetl.errors import InputError

Progress = Callable[[int, int], None]
"""Called with (files looked at, files in all)."""

MAX_PIXELS = 178_956_970
"""Pillow's own limit against decompression bombs, enforced even where a program has lifted Pillow's."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
"""Pillow's names; its JPEG reader also opens MPO, the multi-picture JPEG that phones write."""

_SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}
_IGNORED = ("__macosx", "thumbs.db", "desktop.ini")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_HEADER_ERRORS = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError,
    AssertionError, EOFError, RuntimeError, struct.error,
)  # fmt: skip


class _Layout(NamedTuple):
    folders: list[tuple[str, Path]]
    stray: list[Skipped]
    notes: list[str]


class _Entries(NamedTuple):
    folders: list[Path]
    files: list[Path]
    skipped: list[Skipped]


class _Look(NamedTuple):
    digest: str
    problem: str


def scan_folder(root: Path, *, progress: Progress | None = None) -> Scan:
    """Scan ``ROOT/class/...``, or ``ROOT/train/class/...`` beside ``val`` and ``test``.

    Raises:
        InputError: if ``root`` is no folder, or not laid out in one of these ways with two classes or more.
    """
    root = _real_folder(root)
    layout = _find_layout(root)
    classes = _class_names(layout.folders, root)
    walked = [_walk(folder, root) for _, folder in layout.folders]
    owners = [index for index, entries in enumerate(walked) for _ in entries.files]
    paths = [path for entries in walked for path in entries.files]
    samples: list[list[Sample]] = [[] for _ in walked]
    labels = [classes.index(folder.name) for _, folder in layout.folders]
    looks = _look_at(paths, hashed=True)
    for done, (index, path, look) in enumerate(zip(owners, paths, looks, strict=True), start=1):
        if progress:
            progress(done, len(paths))
        if look.problem:
            walked[index].skipped.append(Skipped(relative(path, root), look.problem))
        else:
            samples[index].append(Sample(str(path), labels[index], look.digest))
    folders = tuple(
        ClassFolder(folder, split, labels[i], tuple(samples[i]), in_path_order(walked[i].skipped))
        for i, (split, folder) in enumerate(layout.folders)
    )
    return Scan(root, classes, folders, in_path_order(layout.stray), tuple(layout.notes))


def list_images(folder: str | Path) -> tuple[list[Path], list[Skipped]]:
    """The images in a folder and its subfolders, in path order, and the files that are none.

    Raises:
        InputError: if ``folder`` is missing, a file, or can't be read.
    """
    root = _real_folder(Path(folder))
    entries = _walk(root, root)
    images: list[Path] = []
    for path, look in zip(entries.files, _look_at(entries.files, hashed=False), strict=True):
        if look.problem:
            entries.skipped.append(Skipped(relative(path, root), look.problem))
        else:
            images.append(path)
    return images, list(in_path_order(entries.skipped))


def _real_folder(root: Path) -> Path:
    shown = printable(str(root))
    if not root.exists():
        raise InputError(f"{shown} does not exist; check the path of the image folder")
    if not root.is_dir():
        raise InputError(f"{shown} is a file; give the folder the images are in")
    try:
        os.scandir(root).close()
    except OSError as error:
        raise InputError(f"{shown} cannot be read ({error.strerror}); check its permissions") from error
    return root.resolve()


def _find_layout(root: Path) -> _Layout:
    top = _list(root, root)
    stray = [*top.skipped, *_strays(top.files, root)]
    by_name = {folder.name: folder for folder in top.folders}
    plain = [("", folder) for folder in top.folders]
    aliases = {name for names in _SPLIT_FOLDERS.values() for name in names}
    if "train" not in by_name:
        if by_name and by_name.keys() <= aliases:
            there = "/, ".join(by_name)
            raise InputError(f"{printable(str(root))} holds {there}/ but no train/; add a train/ folder")
        return _Layout(plain, stray, [])
    splits = _split_folders(by_name)
    others = [folder for folder in top.folders if folder.name not in aliases]
    if len(splits) == 1 and others:  # a class that happens to be called train
        return _Layout(plain, stray, [])
    stray += [Skipped(relative(folder, root), "folder beside train/ is no split") for folder in others]
    inside = {split: _list(folder, root) for split, folder in splits.items()}
    for entries in inside.values():
        stray += [*entries.skipped, *_strays(entries.files, root)]
    notes = []
    if "test" in inside and not inside["test"].folders:  # competitions ship test images without labels
        del inside["test"]
        notes.append("test/ holds no class folders and is not used")
    for split, entries in inside.items():
        if not entries.folders:
            shown = relative(splits[split], root)
            raise InputError(f"{shown}/ holds no class folders; put the images into {shown}/<class>/")
    single = len(inside) == 1
    folders = [("" if single else s, folder) for s, entries in inside.items() for folder in entries.folders]
    return _Layout(folders, stray, notes)


def _split_folders(by_name: dict[str, Path]) -> dict[str, Path]:
    splits = {}
    for split, names in _SPLIT_FOLDERS.items():
        present = [name for name in names if name in by_name]
        if len(present) > 1:
            raise InputError(f"both {present[0]}/ and {present[1]}/ are there; keep one of them")
        if present:
            splits[split] = by_name[present[0]]
    return splits


def _strays(files: Sequence[Path], root: Path) -> list[Skipped]:
    return [Skipped(relative(path, root), "not inside a class folder") for path in files]


def _class_names(folders: Sequence[tuple[str, Path]], root: Path) -> tuple[str, ...]:
    shown = printable(str(root))
    if not folders:
        raise InputError(f"{shown} holds no class folders; put the images into {shown}/<class>/")
    inside: dict[Path, set[str]] = {}
    for _, folder in folders:
        if printable(folder.name) != folder.name:
            raise InputError(f"class folder '{relative(folder, root)}' has unprintable characters; rename it")
        inside.setdefault(folder.parent, set()).add(folder.name)
    classes = sorted(set().union(*inside.values()))
    for name in classes:
        having = [parent.name for parent, names in inside.items() if name in names]
        lacking = [parent.name for parent, names in inside.items() if name not in names]
        if lacking:
            where = f"class '{name}' is in {having[0]}/ but not in {lacking[0]}/"
            raise InputError(f"{where}; every split needs the same class folders: add, rename or remove it")
    if len(classes) < 2:
        only = relative(folders[0][1], root)
        raise InputError(
            f"{shown} holds one class folder only, '{only}', and needs 2 or more; add another, "
            f"or give {shown}/{only} if the class folders are in there"
        )
    return tuple(classes)


def _walk(folder: Path, root: Path) -> _Entries:
    """The folders, files and skipped entries below ``folder``, the files in path order."""
    found = _Entries([folder], [], [])
    for inner in found.folders:  # grows as it goes
        entries = _list(inner, root)
        found.folders.extend(entries.folders)
        found.files.extend(entries.files)
        found.skipped.extend(entries.skipped)
    found.files.sort(key=lambda path: path.parts)
    return found


def _list(folder: Path, root: Path) -> _Entries:
    """What is directly in ``folder``, by name, without what operating systems leave behind."""
    found = _Entries([], [], [])
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name, entry) for entry in entries)
    except OSError as error:
        found.skipped.append(Skipped(relative(folder, root), f"folder cannot be read ({error.strerror})"))
        return found
    for name, entry in names:
        path = folder / name
        if name.startswith(".") or name.casefold() in _IGNORED:
            continue
        problem = _link_problem(path, root) if entry.is_symlink() else ""
        if problem:
            found.skipped.append(Skipped(relative(path, root), problem))
        elif entry.is_dir():
            found.folders.append(path)
        elif entry.is_file():
            found.files.append(path)
        else:
            found.skipped.append(Skipped(relative(path, root), "not a regular file"))
    return found


def _link_problem(link: Path, root: Path) -> str:
    try:
        target = Path(os.path.realpath(link, strict=True))
    except FileNotFoundError:
        return "symbolic link to a missing file"
    except OSError as error:
        return f"symbolic link cannot be followed ({error.strerror})"
    if not target.is_relative_to(root):
        return "symbolic link leads outside the folder"
    # Its images are found where they are; following it could run in a circle.
    return "symbolic link to a folder is not followed" if target.is_dir() else ""


def _look_at(paths: Sequence[Path], *, hashed: bool) -> Iterator[_Look]:
    """Look at the files in a few threads; results in the order of ``paths``."""
    # Threads opening images would race on loading Pillow's plugins.
    Image.init()
    workers = min(32, os.cpu_count() or 1)
    waiting: deque[Future[_Look]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for path in paths:
            waiting.append(pool.submit(_look, path, hashed))
            if len(waiting) >= 8 * workers:  # a window, not one future for each of 50,000 files
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _look(path: Path, hashed: bool) -> _Look:
    try:
        with path.open("rb") as stream:
            problem = _header_problem(stream)
            return _Look(_sha256(stream) if hashed and not problem else "", problem)
    except OSError as error:
        return _Look("", f"cannot be read ({error.strerror})")


def _sha256(stream: BinaryIO) -> str:
    stream.seek(0)
    state = hashlib.sha256()
    while block := stream.read(1 << 20):
        state.update(block)
    return state.hexdigest()


def _header_problem(stream: BinaryIO) -> str:
    """Why the file can't be used, judged by its first bytes; empty if it can."""
    prefix = stream.read(12)
    if not prefix:
        return "empty file"
    try:
        with Image.open(stream, formats=FORMATS) as image:
            pixels = image.width * image.height
    except UnidentifiedImageError:
        return _foreign_format(stream, prefix)
    except Image.DecompressionBombError as error:
        return str(error).partition(", could")[0]
    except _HEADER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return f"damaged image header ({printable(str(error))})"
    return f"Image size ({pixels} pixels) exceeds limit of {MAX_PIXELS} pixels" if pixels > MAX_PIXELS else ""


def _foreign_format(stream: BinaryIO, prefix: bytes) -> str:
    if prefix[4:8] == b"ftyp" and prefix[8:] in _HEIF_BRANDS:
        return "unsupported format HEIC"
    stream.seek(0)
    try:
        with Image.open(stream) as image:
            return f"unsupported format {image.format}"
    except (*_HEADER_ERRORS, Image.DecompressionBombError):
        return "not an image (text or unknown content)"
