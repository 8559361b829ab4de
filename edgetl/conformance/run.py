"""All checks on one backend."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edgetl.backends import get_backend
from edgetl.conformance import answers, failures, honesty, making
from edgetl.conformance.case import Case, choose_target
from edgetl.conformance.checking import (
    Check,
    Failed,
    NotApplicable,
    Outcome,
    Status,
    flat,
    standard_output_aside,
)
from edgetl.errors import EdgetlError, InputError
from edgetl.progress import Observer, Silent

_MODULES = (answers, making, honesty, failures)
CHECKS: tuple[Check, ...] = tuple(check for module in _MODULES for area in module.ALL for check in area.all)
"""Every check, in the order they are run in."""


def run_checks(backend: str, target: str | None = None, observer: Observer | None = None) -> list[Outcome]:
    """Try a backend on the tiny network.

    Args:
        backend: its name.
        target: name of a target profile of it; None for the one this machine comes closest to.

    Raises:
        InputError: if there is no such backend or target, or the backend's toolchain is not installed.
    """
    observer = observer or Silent()
    chosen = choose_target(backend, target)
    if missing := _missing(backend):
        raise InputError(f"backend {backend} can't be tried here: {missing}")
    found: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="edgetl-conformance-") as folder,
        observer.stage(f"{len(CHECKS)} checks of {backend} as {chosen.name}") as advance,
    ):
        case = Case(chosen, Path(folder))
        for check in CHECKS:
            advance(len(found), len(CHECKS))
            with standard_output_aside():  # one of the checks is about it
                found.append(outcome(check, case))
    return found


def _missing(backend: str) -> str | None:
    """What the backend says is missing; None where it says nothing, or fails to: the checks tell that."""
    try:
        found = get_backend(backend).available()
    except Exception:
        return None
    return flat(found.reason) if found.reason and not found.ok else None


def outcome(check: Check, case: Case) -> Outcome:
    """What one check finds; it never raises."""
    started = time.perf_counter()

    def finished(status: Status, detail: str | None) -> Outcome:
        return Outcome(check.name, status, detail, time.perf_counter() - started)

    try:
        remark = check.examine(case)
    except (Failed, EdgetlError) as error:
        return finished("failed", flat(error))
    except NotApplicable as reason:
        return finished("not applicable", flat(reason))
    except Exception as error:
        return finished("error", f"{type(error).__name__}: {flat(error)}")
    return finished("passed", remark)


def passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether nothing failed, and an engine was made at all."""
    return all(found.ok for found in outcomes) and any(found.status == "passed" for found in outcomes)
