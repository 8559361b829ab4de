"""Whether this process runs under an emulator of its processor, whose times say nothing of any device."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_NAME = "qemu-"


def emulator() -> str | None:
    """Name of the emulating program (QEMU's user mode); None on a real processor, or where it can't be told.

    QEMU shows a process its own ``/proc/self`` as the real one's would be, so a child is looked at.
    """
    if not hasattr(os, "fork"):
        return None
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        name = Path(f"/proc/{child}/exe").readlink().name
    except OSError:
        return None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return name if name.startswith(_NAME) else None
