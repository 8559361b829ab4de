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
    with contextlib.ExitStack() as held:
        try:
            handle = _open((folder or Path(tempfile.gettempdir())) / _NAME)
            held.callback(os.close, handle)
            _wait(handle, note)
        except OSError as error:
            note(f"other measurements on this machine can't be kept out: its lock file: {error.strerror}")
        yield


def _open(path: Path) -> int:
    """Opened for reading, which is enough to lock it, so that a file of another user will do."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):  # somebody else was faster
        handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError, AttributeError):  # for all users, whatever the umask
            os.fchmod(handle, 0o666)
        return handle
    return os.open(path, flags)


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
