"""Digests and atomic writes: the few file operations every room of the house needs."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgetl.errors import EdgetlError, InputError

_CHUNK = 1 << 20
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value in canonical form, hexadecimal."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def relative_files(folder: Path) -> list[str]:
    """POSIX paths of all regular files below ``folder``, sorted; symbolic links are an error.

    Raises:
        InputError: if the folder holds a symbolic link.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise InputError(f"{path} is a symbolic link; refusing to follow it")
        if path.is_file():
            found.append(path.relative_to(folder).as_posix())
    return found


@contextlib.contextmanager
def full_disks_named(place: Path) -> Iterator[None]:
    """A disk that is full or can't be written becomes one line with its name.

    Which of the two it is, that of ``place`` or that of the temporary folder, the system does not always
    tell; then it is the one with less room.

    Raises:
        EdgetlError: in place of the operating system's error.
    """
    try:
        yield
    except OSError as error:
        found = [
            number for number in _DISK_TROUBLE if error.errno == number or os.strerror(number) in str(error)
        ]
        if not found:  # copytree's errors have words only
            raise
        full = min((place, Path(tempfile.gettempdir())), key=lambda path: shutil.disk_usage(path).free)
        raise EdgetlError(f"could not write to {full}: {os.strerror(found[0])}") from error


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder`` to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _fsync(Path(parent) / name)
        _fsync(Path(parent))


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes | str) -> Path:
    """Write a whole file or nothing: temporary name, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_orphans(path.parent, path.name)
    temporary = path.with_name(owned_name(path.name))
    payload = data.encode() if isinstance(data, str) else data
    try:
        with temporary.open("wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync(path.parent)
    return path


@contextlib.contextmanager
def atomic_folder(final: Path, mark: str) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of ``final`` when the block ends well.

    An earlier ``final`` is replaced; readers see the old folder or the new one, never a mixture.

    Args:
        mark: name of something every earlier result holds; a folder with other things in it is not replaced.

    Raises:
        InputError: if something else than an earlier result, or an empty folder, is in the way.
    """
    final = final.absolute()
    _refuse_stranger(final, mark)
    final.parent.mkdir(parents=True, exist_ok=True)
    sweep_orphans(final.parent, final.name)
    temporary = final.with_name(owned_name(final.name))
    retired = final.with_name(owned_name(final.name))
    try:
        with full_disks_named(final.parent):
            temporary.mkdir()
            yield temporary
            sync_tree(temporary)
            if final.exists():
                os.rename(final, retired)
            try:
                os.rename(temporary, final)
            except OSError:
                if retired.exists():
                    os.rename(retired, final)
                raise
            _fsync(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


def _refuse_stranger(final: Path, mark: str) -> None:
    if final.is_symlink() or (final.exists() and not final.is_dir()):
        raise InputError(f"{final} is in the way and not a folder; remove it or choose another output")
    if final.is_dir() and not (final / mark).exists() and any(final.iterdir()):
        raise InputError(f"{final} holds other files; refusing to replace it: choose another output")


def owned_name(name: str) -> str:
    """A hidden, unique temporary name that tells which process it belongs to."""
    return f".{name}~{uuid.uuid4().hex}~{os.getpid()}~{socket.gethostname()}"


def sweep_orphans(folder: Path, name: str) -> None:
    """Remove temporary files and folders for ``name`` whose process, on this machine, is dead."""
    for path in folder.glob(f".{glob.escape(name)}~*"):
        parts = path.name.rsplit("~", 2)
        if len(parts) == 3 and parts[2] == socket.gethostname() and not _alive(parts[1]):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _alive(pid: str) -> bool:
    if os.name == "nt" or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
