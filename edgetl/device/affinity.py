"""Which processors this process may use, and holding it to some of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from edgetl.device.read import read_text
from edgetl.errors import InputError

_TASKS = Path("/proc/self/task")
_ISOLATED = Path("/sys/devices/system/cpu/isolated")


def usable_cpus() -> list[int] | None:
    """Numbers of the processors that the calling thread may run on; None where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def facts(asked: int = 0, told: int | None = None) -> dict[str, Any]:
    """JSON-ready: where a session of this process runs, and with how many threads.

    Args:
        asked: the spec's threads; 0 leaves it to the runtime.
        told: the runtime's own number, where it tells.

    Returns:
        ``cpus`` (numbers of those that may be used), ``logical`` (how many the machine has), ``pinned``
        (whether that is fewer; None where it is not known), ``isolated`` (kept free by the kernel, in its
        own notation, or None), ``threads`` (``asked``; None for 0), ``runtime_threads`` (``told``), and
        ``pinned_threads``: how many of the process's threads are held to one processor, as a runtime does
        with its own; None where the system does not tell.
    """
    cpus, logical = usable_cpus(), os.cpu_count()
    return {
        "cpus": cpus,
        "logical": logical,
        "pinned": None if cpus is None or logical is None else len(cpus) < logical,
        "isolated": read_text(_ISOLATED) or None,
        "threads": asked or None,
        "runtime_threads": told,
        "pinned_threads": _pinned_threads(),
    }


@contextlib.contextmanager
def pinned(cpus: Collection[int]) -> Iterator[None]:
    """Hold all threads of this process to ``cpus``, those it starts meanwhile too.

    A runtime counts the processors when it loads an engine, so load it inside. Afterwards each thread may
    run where it might before; one started meanwhile, where the calling thread might.

    Raises:
        InputError: if this system can't, or the process may not use one of them.
    """
    allowed = usable_cpus()
    if allowed is None:
        raise InputError("this system can't hold a process to some of its processors")
    wanted = set(cpus)
    if not wanted or not wanted <= set(allowed):
        raise InputError(
            f"can't run on processors {_listed(wanted) or 'of an empty list'}; "
            f"this process may use {_listed(allowed)}"
        )
    before = _affinities()
    _hold(dict.fromkeys(before, wanted))
    try:
        yield
    finally:
        _hold({thread: before.get(thread, set(allowed)) for thread in _affinities()})


def _affinities() -> dict[int, set[int]]:
    """Processors by thread; 0, the calling thread, where the system lists no threads."""
    found: dict[int, set[int]] = {}
    names = [entry.name for entry in _TASKS.iterdir()] if _TASKS.is_dir() else ["0"]
    for thread in map(int, names):
        with contextlib.suppress(ProcessLookupError):  # it may have ended since
            found[thread] = set(os.sched_getaffinity(thread))
    return found


def _hold(wanted: dict[int, set[int]]) -> None:
    for thread, cpus in wanted.items():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cpus)


def _pinned_threads() -> int | None:
    if not _TASKS.is_dir() or not hasattr(os, "sched_getaffinity"):
        return None
    return sum(len(cpus) == 1 for cpus in _affinities().values())


def _listed(cpus: Collection[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))
