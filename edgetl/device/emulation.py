"""Whether this process runs under an emulator of its processor, whose times say nothing of any device."""

from __future__ import annotations

import threading
from pathlib import Path

_NAME = "qemu-"


def emulator(root: Path = Path("/")) -> str | None:
    """Name of the emulating program (QEMU's user mode); None on a real processor, or where it can't be told.

    QEMU shows a process the ``/proc/self/exe`` of a real processor, but not so those of its threads.

    Args:
        root: the folder that holds ``proc``.
    """
    for link in ("thread-self/exe", f"self/task/{threading.get_native_id()}/exe"):
        try:
            name = (root / "proc" / link).readlink().name
        except OSError:
            continue
        if name.startswith(_NAME):
            return name
    return None
