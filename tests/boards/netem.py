"""A board behind a bad network: a network namespace, and a link to it with latency, loss and a plug to pull.

``tc netem`` makes the latency and the loss on a pair of veth devices; where the kernel has no netem, a pair
of tun devices is joined in user space (``tests/boards/tun.py``). Both are real TCP over lost packets.
Nothing of it outlives the process, not even a killed one.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.boards.guard import descendants, guarded
from tests.boards.tun import Relay


def skip_reason() -> str | None:
    """Why there can be no such link, with what helps; None if there can be."""
    if os.geteuid():
        return "a network namespace needs the user root"
    if missing := [name for name in ("ip", "tc", "nsenter", "unshare") if not shutil.which(name)]:
        return f"no {', '.join(missing)}: run `apt-get install iproute2 util-linux`"
    try:
        with Link():
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace with a veth or tun link can be made here: {error}"


class Link:
    """A context manager; use it as ``Sshd(address=link.address, prefix=link.inside)``.

    Args:
        delay_ms: added to the round trip, half of it each way.
        loss: share of the packets lost, each way.

    Attributes:
        address: the far end's.
        inside: what stands before a command that runs at the far end.
        how: ``"tc netem"`` or ``"tun"``.
    """

    def __init__(self, delay_ms: float = 0, loss: float = 0) -> None:
        # a range set aside for testing networks (RFC 2544); four addresses a link
        subnet = f"198.18.{random.randrange(256)}."
        first = 4 * random.randrange(64)
        self._near_address, self.address = f"{subnet}{first + 1}", f"{subnet}{first + 2}"
        self._near, self._far = (f"et{os.getpid()}{letter}{first}" for letter in "ab")
        self._delay_ms, self._loss = delay_ms, loss
        self._relay: Relay | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Link:
        with contextlib.ExitStack() as stack:
            self._holder = _namespace(stack)
            self.inside = ("nsenter", f"--target={self._holder}", "--net")
            self.how = "tc netem" if self._has_netem() else "tun"
            if self.how == "tun":
                self._relay = stack.enter_context(Relay(self._near, self._far))
            else:
                _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far)
                stack.callback(_quietly, "ip", "link", "delete", self._near)
            _ip("link", "set", self._far, "netns", str(self._holder))
            _ip("address", "add", f"{self._near_address}/30", "dev", self._near)
            _ip("link", "set", self._near, "up")
            _ip("address", "add", f"{self.address}/30", "dev", self._far, inside=self.inside)
            _ip("link", "set", "lo", "up", inside=self.inside)
            self.mend()
            self.shape(self._delay_ms, self._loss)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def shape(self, delay_ms: float, loss: float) -> None:
        """Change latency and loss from now on."""
        if self._relay is not None:
            self._relay.delay_s, self._relay.loss = delay_ms / 2e3, loss
            return
        netem = ("root", "netem", "delay", f"{delay_ms / 2}ms", "loss", f"{100 * loss}%")
        for prefix, device in (((), self._near), (self.inside, self._far)):
            subprocess.run([*prefix, "tc", "qdisc", "replace", "dev", device, *netem], check=True)

    def cut(self) -> None:
        """Pull the plug: packets vanish, no connection is told."""
        _ip("link", "set", self._far, "down", inside=self.inside)

    def mend(self) -> None:
        _ip("link", "set", self._far, "up", inside=self.inside)

    def _has_netem(self) -> bool:
        return _quietly(*self.inside, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "0ms") == 0


def _namespace(stack: contextlib.ExitStack) -> int:
    """A network namespace that ends with ``stack``; returns the id of a process in it."""
    guard = subprocess.Popen(guarded("unshare", "--net", "sleep", "infinity"), start_new_session=True)
    stack.callback(guard.wait)
    stack.callback(guard.terminate)
    own = Path("/proc/self/ns/net").readlink()
    end = time.monotonic() + 20
    while time.monotonic() < end and guard.poll() is None:
        for process in (Path(f"/proc/{pid}") for pid in descendants(guard.pid)):
            with contextlib.suppress(OSError):
                if process.joinpath("ns/net").readlink() != own:
                    return int(process.name)
        time.sleep(0.01)
    raise OSError("unshare --net failed")


def _ip(*arguments: str, inside: tuple[str, ...] = ()) -> None:
    subprocess.run([*inside, "ip", *arguments], check=True)


def _quietly(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode
