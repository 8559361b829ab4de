"""One measurement at a time on a machine, whoever starts it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_NAME = "edgetl-measuring.lock"
_PATIENCE_SECONDS = 0.5

Note = Callable[[str], None]
"""Told what the user should know."""


@contextlib.contextmanager
def measuring_alone(note: Note, folder: Path | None = None) -> Iterator[None]:
    """Wait until nobody else measures on this machine, and keep others out of the block.

    The lock is a file that all users of the machine can see, and falls with its owner's process. Where it
    can't be had (no such locks on this system, a file that others own and nobody can read), nothing is
    locked and a note says so.
    """
    handle = _open((folder or Path(tempfile.gettempdir())) / _NAME)
    if handle is None:
        note("other measurements on this machine can't be kept out: its lock file can't be opened")
        yield
        return
    try:
        _wait(handle, note)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int | None:
    """Opened for reading, which is enough to lock it, so that a file of another user will do."""
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CREAT | os.O_EXCL, os.O_RDONLY):
        with contextlib.suppress(OSError):
            return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o644)
    return None


def _wait(handle: int, note: Note) -> None:
    try:
        import fcntl
    except ImportError:
        return
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                note("waiting: another measurement runs on this machine")
                told = True
            time.sleep(_PATIENCE_SECONDS)
        else:
            return
