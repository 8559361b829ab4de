from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from edgetl.errors import EdgetlError, InputError
from edgetl.files import atomic_folder, digest_of, relative_files, sha256_file, write_atomic


def test_sha256_of_a_file_larger_than_a_chunk(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 7)
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_digest_is_of_the_value_not_of_its_writing() -> None:
    assert digest_of({"a": 1, "b": [2.5, None]}) == digest_of({"b": (2.5, None), "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})
    assert len(digest_of("\udcff \ud800 ü")) == 64  # names that are no UTF-8 must not stop a run


def test_relative_files_are_sorted_and_links_refused(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a/y"):
        write_atomic(tmp_path / name, "x")
    assert relative_files(tmp_path) == ["a/y", "a/z", "b"]
    (tmp_path / "a" / "link").symlink_to(tmp_path / "b")
    with pytest.raises(InputError, match="symbolic link"):
        relative_files(tmp_path)


def test_write_atomic_replaces_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "deep" / "f", "ü")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]
    with pytest.raises(IsADirectoryError):
        write_atomic(path.parent, "x")
    assert list(tmp_path.iterdir()) == [path.parent]


def fill(final: Path, text: str) -> None:
    with atomic_folder(final, "mark") as folder:
        (folder / "mark").write_text(text)


def test_atomic_folder_replaces_an_earlier_one(tmp_path: Path) -> None:
    final = tmp_path / "out"
    for text in ("one", "two"):
        fill(final, text)
        assert (final / "mark").read_text() == text and list(tmp_path.iterdir()) == [final]


def test_atomic_folder_keeps_the_earlier_one_if_the_block_fails(tmp_path: Path) -> None:
    final = tmp_path / "out"
    fill(final, "one")
    with pytest.raises(TypeError), atomic_folder(final, "mark") as folder:
        (folder / "mark").write_text(None)  # type: ignore[arg-type]
    assert (final / "mark").read_text() == "one" and list(tmp_path.iterdir()) == [final]


def test_atomic_folder_restores_the_earlier_one_if_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "out"
    fill(final, "one")
    rename = os.rename

    attempts: list[Path] = []

    def fails_once(source: Path, target: Path) -> None:
        if Path(target) == final and not attempts:
            attempts.append(Path(source))
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_once)
    with pytest.raises(OSError, match="no"):
        fill(final, "two")
    assert (final / "mark").read_text() == "one" and list(tmp_path.iterdir()) == [final]


def test_atomic_folder_does_not_replace_somebody_elses_files(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    fill(photos, "an empty folder may be filled")
    (photos / "mark").rename(photos / "cat.jpg")
    with pytest.raises(InputError, match="refusing to replace"):
        fill(photos, "x")
    assert (photos / "cat.jpg").exists()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(photos)
    for name in ("file", "link"):
        with pytest.raises(InputError, match="in the way"):
            fill(tmp_path / name, "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_atomic_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(InputError):
        fill(Path(), "x")


def test_orphans_of_dead_processes_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = socket.gethostname()
    orphan = tmp_path / f".out~abc~{dead.pid}~{host}"
    orphan.mkdir()
    spared = [
        tmp_path / f".out~abc~{os.getpid()}~{host}",
        tmp_path / f".out~abc~{dead.pid}~another-host",
        tmp_path / f".other~abc~{dead.pid}~{host}",
        tmp_path / ".out~notes",
    ]
    for path in spared:
        path.touch()
    fill(tmp_path / "out", "one")
    assert not orphan.exists() and all(path.exists() for path in spared)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """Also where copying a folder failed, whose error has no number."""
    full = shutil.Error([("a", "b", f"[Errno 28] {os.strerror(errno.ENOSPC)}: 'b'")])
    for error in (full, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
        said = f"^could not write to {tmp_path}: No space left on device$"
        with pytest.raises(EdgetlError, match=said), atomic_folder(tmp_path / "out", "mark"):
            raise error
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "out", "mark"):
        raise FileNotFoundError(errno.ENOENT, "gone")
