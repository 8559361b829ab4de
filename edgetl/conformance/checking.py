"""What a check is, how it says that a backend fails it, and what checks share."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgetl.errors import EdgetlError

if TYPE_CHECKING:
    from edgetl.conformance.case import Case

Status = Literal["passed", "failed", "not applicable", "error"]
Examine = Callable[["Case"], "str | None"]
"""Examines one backend; returns a remark for its author, or None."""


class Failed(Exception):
    """The backend does not do what it must: the message says what, in one line."""


class NotApplicable(Exception):
    """The check says nothing about this backend on this machine: the message says why."""


@dataclass(frozen=True)
class Check:
    """One thing that every backend must do.

    Attributes:
        area: what it is about: contract, batch, errors …
        title: what must be so.
        examine: raises :class:`Failed` or :class:`NotApplicable`.
    """

    area: str
    title: str
    examine: Examine

    @property
    def name(self) -> str:
        return f"{self.area}: {self.title}"


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        status: ``error`` where the check itself could not go on, which counts as a failure.
        detail: why it failed or does not apply; for a passed one a remark, or None.
        seconds: it took.
    """

    name: str
    status: Status
    detail: str | None
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status in ("passed", "not applicable")


class Checks:
    """The checks of one area, in the order they are written in."""

    def __init__(self, area: str) -> None:
        self._area = area
        self.all: list[Check] = []

    def __call__(self, title: str) -> Callable[[Examine], Examine]:
        def keep(examine: Examine) -> Examine:
            self.all.append(Check(self._area, title, examine))
            return examine

        return keep


def require(fact: bool, otherwise: str) -> None:
    """Raise :class:`Failed` unless something is so."""
    if not fact:
        raise Failed(otherwise)


def refusal(action: Callable[[], object], doing: str, *, naming: str | None = None) -> EdgetlError | None:
    """The error of one line with which something is refused, or None where it is not.

    Args:
        doing: what is tried, for messages.
        naming: what the line must contain.

    Raises:
        Failed: if it raises anything but an EdgetlError of one line.
    """
    try:
        action()
    except EdgetlError as error:
        require_one_line(str(error), f"the error of {doing}")
        named = naming is None or naming in str(error)
        require(named, f"the error of {doing} does not name {naming}: {error}")
        return error
    except (Failed, NotApplicable):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise Failed(f"{doing} raised {kind} instead of an EdgetlError: {flat(error)}") from error
    return None


def must_refuse(action: Callable[[], object], doing: str, *, naming: str | None = None) -> EdgetlError:
    """As :func:`refusal`, for what must not go through."""
    error = refusal(action, doing, naming=naming)
    if error is None:
        raise Failed(f"{doing} raised no error")
    return error


def require_one_line(text: str, what: str) -> None:
    require(bool(text.strip()), f"{what} is empty")
    require(
        "\n" not in text.strip("\n") and not text.endswith("\n"), f"{what} has several lines: {flat(text)}"
    )


def flat(error: object) -> str:
    """One line of whatever text there is."""
    return " ".join(str(error).split()) or type(error).__name__


def listed(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


@contextlib.contextmanager
def standard_output_aside() -> Iterator[list[str]]:
    """Keep standard output, that of native code too, apart; the list holds its lines after the block."""
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as aside:
        sys.stdout.flush()
        former, python_stdout = os.dup(1), sys.stdout
        os.dup2(aside.fileno(), 1)
        sys.stdout = aside
        try:
            yield lines
        finally:
            aside.flush()
            sys.stdout = python_stdout
            os.dup2(former, 1)
            os.close(former)
            aside.seek(0)
            lines += [line for line in aside.read().splitlines() if line.strip()]
