"""Reading the kernel's small files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a small file, empty if there is none; sysfs can also fail on reading."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def to_number(text: str) -> float | None:
    """The number that a text is; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def read_number(path: Path) -> float | None:
    """The number in a small file; None if there is none."""
    return to_number(read_text(path))


def highest(values: Iterable[float | None]) -> float | None:
    """The highest of those that are known."""
    return max((v for v in values if v is not None), default=None)
