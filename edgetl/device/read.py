"""Reading the kernel's small files."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a small file, empty if there is none; sysfs can also fail on reading."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
