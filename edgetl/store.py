"""The content-addressed store: every stage's result, under a key made of everything it depends on.

An entry is a folder that appears by one ``rename`` after its files and their digests have reached the
disk, so a killed run leaves either a whole entry or none. Writers of the same key take turns through a
file lock that the kernel drops when its owner dies.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.errors import InputError
from edgetl.files import (
    digest_of,
    full_disks_named,
    owned_name,
    relative_files,
    sha256_file,
    sweep_orphans,
    sync_tree,
)
from edgetl.versions import code_digest

_MANIFEST = "entry.json"
_FORMAT = 1
_TEMPORARY = "entry"

Make = Callable[[Path], Mapping[str, Any]]
"""Fills an empty folder and returns facts (JSON-serialisable) to be kept beside the files."""


@dataclass(frozen=True)
class Entry:
    """One result: ``path`` holds its files, ``facts`` what its maker said, ``digests`` SHA-256 by file."""

    kind: str
    key: str
    path: Path
    facts: Mapping[str, Any]
    digests: Mapping[str, str]
    fresh: bool

    @property
    def digest(self) -> str:
        """One digest over all the entry's files."""
        return digest_of(self.digests)

    def file(self, name: str) -> Path:
        return self.path / name


def default_root() -> Path:
    """``$EDGETL_CACHE``, else ``edgetl`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("EDGETL_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"


class Store:
    """A folder of entries, safe for several processes at once.

    Raises:
        InputError: if the folder can't be made or written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        try:
            for part in ("tmp", "locks"):
                (self.root / part).mkdir(parents=True, exist_ok=True)
                if not os.access(self.root / part, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise InputError(
                f"cannot use the cache folder {self.root}: {error.strerror}; set EDGETL_CACHE"
            ) from error
        sweep_orphans(self.root / "tmp", _TEMPORARY)

    def get(self, kind: str, parts: Mapping[str, Any], make: Make) -> Entry:
        """The entry for ``parts``, made by ``make`` if it isn't there yet.

        Args:
            kind: the stage's name; also the folder's.
            parts: everything the result depends on, JSON-serialisable.
            make: called with an empty folder, at most once.
        """
        if found := self.find(kind, parts):
            return found
        key = self.key(kind, parts)
        with self._lock(key):
            return self.find(kind, parts) or self._make(kind, key, parts, make)

    def put(self, kind: str, parts: Mapping[str, Any], facts: Mapping[str, Any]) -> Entry:
        """Keep facts, in the place of those that were kept for the same parts."""
        key = self.key(kind, parts)
        with self._lock(key):
            if (former := self._path(kind, key)).exists():
                self._discard(former)
            return self._make(kind, key, parts, lambda folder: facts)

    def find(self, kind: str, parts: Mapping[str, Any]) -> Entry | None:
        """The entry for ``parts`` if it is there and whole; a damaged one is removed."""
        key = self.key(kind, parts)
        return self._read(kind, key, self._path(kind, key))

    def entries(self, kind: str) -> Iterator[Entry]:
        """All whole entries of one kind, oldest first."""
        folders = [path for path in (self.root / kind).glob("*/*") if path.is_dir()]
        for path in sorted(folders, key=lambda folder: (_last_used(folder), folder.name)):
            if entry := self._read(kind, path.name, path):
                yield entry

    @staticmethod
    def key(kind: str, parts: Mapping[str, Any]) -> str:
        return digest_of({"format": _FORMAT, "code": code_digest(), "kind": kind, "parts": parts})

    def usage(self) -> dict[str, tuple[int, int]]:
        """Entries and bytes by kind."""
        result = {}
        for folder in sorted(
            path for path in self.root.iterdir() if path.is_dir() and path.name not in ("tmp", "locks")
        ):
            entries = [path for path in folder.glob("*/*") if path.is_dir()]
            result[folder.name] = (len(entries), sum(_size(path) for path in entries))
        return result

    def collect(self, keep_bytes: int) -> tuple[int, int]:
        """Remove the least recently used entries until at most ``keep_bytes`` are left.

        Returns:
            Number of entries removed and bytes freed.
        """
        folders = [path for path in self.root.glob("*/*/*") if (path / _MANIFEST).exists()]
        sizes = {path: _size(path) for path in folders}
        left, removed, freed = sum(sizes.values()), 0, 0
        for path in sorted(folders, key=_last_used):
            if left <= keep_bytes:
                break
            self._discard(path)
            left, removed, freed = left - sizes[path], removed + 1, freed + sizes[path]
        return removed, freed

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def _read(self, kind: str, key: str, path: Path) -> Entry | None:
        try:
            manifest = json.loads((path / _MANIFEST).read_bytes())
            whole = manifest.pop("digest") == digest_of(manifest) and all(
                sha256_file(path / name) == digest for name, digest in manifest["digests"].items()
            )
        except FileNotFoundError:
            whole = not path.exists()
            manifest = None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole, manifest = False, None
        if not whole:
            self._discard(path)
        if not whole or manifest is None:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return Entry(kind, key, path, manifest["facts"], manifest["digests"], fresh=False)

    def _make(self, kind: str, key: str, parts: Mapping[str, Any], make: Make) -> Entry:
        folder = self.root / "tmp" / owned_name(_TEMPORARY)
        try:
            with full_disks_named(self.root):
                return self._fill(kind, key, parts, make, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fill(self, kind: str, key: str, parts: Mapping[str, Any], make: Make, folder: Path) -> Entry:
        folder.mkdir()
        started = time.perf_counter()
        facts = dict(make(folder))
        facts["seconds"] = round(time.perf_counter() - started, 3)
        digests = {name: sha256_file(folder / name) for name in relative_files(folder)}
        # through JSON and back, so that a fresh entry's facts are those that will be read again
        manifest = json.loads(json.dumps({"kind": kind, "parts": parts, "facts": facts, "digests": digests}))
        sealed = {**manifest, "digest": digest_of(manifest)}
        (folder / _MANIFEST).write_text(json.dumps(sealed, indent=1, sort_keys=True))
        sync_tree(folder)
        path = self._path(kind, key)
        return self._publish(folder, Entry(kind, key, path, manifest["facts"], digests, fresh=True))

    def _publish(self, folder: Path, entry: Entry) -> Entry:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(folder, entry.path)
        except OSError:
            if theirs := self._read(entry.kind, entry.key, entry.path):
                return theirs
            raise
        return entry

    def _discard(self, path: Path) -> None:
        """Rename first, so that nobody finds a half-removed entry."""
        grave = self.root / "tmp" / owned_name(_TEMPORARY)
        with contextlib.suppress(OSError):
            os.rename(path, grave)
        shutil.rmtree(grave, ignore_errors=True)

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        try:
            import fcntl
        except ImportError:  # Windows: two writers do the work twice, the second rename loses
            yield
            return
        path = self.root / "locks" / key
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
            path.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    """Bytes below a folder; files that another process removes meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
