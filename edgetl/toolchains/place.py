"""Where toolchains live, and which are whole: a mark written last is all that is believed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgetl.errors import InputError
from edgetl.files import owned_name, sweep_orphans, write_atomic
from edgetl.toolchains.catalogue import Toolchain, toolchain

_MARK = "edgetl.json"


def root() -> Path:
    """``$EDGETL_TOOLCHAINS``, else ``edgetl/toolchains`` below ``$XDG_DATA_HOME`` or ``~/.local/share``."""
    if chosen := os.environ.get("EDGETL_TOOLCHAINS"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "edgetl" / "toolchains"


def folder(name: str) -> Path:
    return root() / name


def python_in(environment: Path) -> Path:
    return environment / "bin" / "python"


def how_to_get(name: str) -> str:
    """The command that installs a toolchain, for errors."""
    return f"install it with: edgetl toolchain install {name}"


def installed(name: str) -> Path | None:
    """The toolchain's Python, or None where it is not whole or not the one this edgetl asks for."""
    mark, python = _read_mark(name), python_in(folder(name))
    wanted = list(toolchain(name).requirements)
    return python if mark and mark.get("requirements") == wanted and python.exists() else None


def version(name: str) -> str | None:
    """The installed toolchain's version, or None."""
    return toolchain(name).version if installed(name) else None


def size_bytes(name: str) -> int:
    """Bytes that a toolchain's folder takes."""
    found = folder(name).rglob("*")
    return sum(path.stat().st_size for path in found if path.is_file() and not path.is_symlink())


def write_mark(chosen: Toolchain) -> None:
    """Say that the environment is whole."""
    facts = {"version": chosen.version, "requirements": list(chosen.requirements)}
    write_atomic(folder(chosen.name) / _MARK, json.dumps(facts, indent=1))


def remove(name: str) -> bool:
    """Remove a toolchain, a half-made one too; returns whether there was anything.

    Raises:
        InputError: if there is no such toolchain, or somebody is installing it.
    """
    with locked(toolchain(name)):
        return discard(name)


def discard(name: str) -> bool:
    """Rename first, so that nobody takes a half-removed environment for a whole one."""
    place = folder(name)
    sweep_orphans(place.parent, name)
    if not place.is_dir():
        return False
    grave = place.with_name(owned_name(name))
    os.rename(place, grave)
    shutil.rmtree(grave)
    return True


@contextlib.contextmanager
def locked(chosen: Toolchain) -> Iterator[None]:
    """One process at a time; the lock goes with its owner.

    Raises:
        InputError: if the folder can't be written, or another process is at it.
    """
    import fcntl

    place = root()
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = (place / f".{chosen.name}.lock").open("a")
    except OSError as error:
        raise InputError(
            f"cannot use the toolchain folder {place}: {error.strerror}; set EDGETL_TOOLCHAINS"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another process is at the toolchain {chosen.name}; wait for it") from error
        yield


def _read_mark(name: str) -> dict[str, Any] | None:
    try:
        mark = json.loads((folder(name) / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return mark if isinstance(mark, dict) else None
