"""Two tun devices joined in user space: what one sends, the other receives, late or never."""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from types import TracebackType

TUN = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET = 65536


class Relay:
    """A context manager: carries packets between the devices it makes, in a thread.

    Attributes:
        delay_s: from one device to the other.
        loss: share of the packets dropped, each way.
    """

    def __init__(self, near: str, far: str) -> None:
        self.delay_s = self.loss = 0.0
        self._names = (near, far)
        self._over = False
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> Relay:
        self._ends: list[int] = []
        try:
            for name in self._names:
                self._ends.append(os.open(TUN, os.O_RDWR | os.O_NONBLOCK))
                fcntl.ioctl(
                    self._ends[-1], TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
                )
        except OSError:
            self._close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()
        self._close()

    def _close(self) -> None:
        for end in self._ends:
            os.close(end)

    def _carry(self) -> None:
        near, far = self._ends
        other = {near: far, far: near}
        waiting: list[tuple[float, int, int, bytes]] = []
        number = itertools.count()  # packets due at the same time keep their order
        while not self._over:
            patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            for end in select.select(self._ends, (), (), min(patience, 0.05))[0]:
                # a device that is down, or gone with its namespace, gives and takes nothing
                with contextlib.suppress(OSError):
                    packet = os.read(end, PACKET)
                    if random.random() >= self.loss:
                        due = time.monotonic() + self.delay_s
                        heapq.heappush(waiting, (due, next(number), other[end], packet))
            while waiting and waiting[0][0] <= time.monotonic():
                with contextlib.suppress(OSError):
                    os.write(waiting[0][2], waiting[0][3])
                heapq.heappop(waiting)
