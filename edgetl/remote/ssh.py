"""One connection to a device: the system's ``ssh`` with the agent at its other end.

Host keys, keys and passwords are OpenSSH's business. The command that runs on the device is a constant, or
holds the name of a Python that was checked: everything else goes through the connection as data.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import TracebackType
from typing import IO, Any

from edgetl.data.dataset import printable
from edgetl.errors import InputError
from edgetl.remote.address import Address
from edgetl.remote.answers import Answer, DeviceError, brief, parse

__all__ = ["PROGRAM", "Connection", "ConnectionLostError", "DeviceError", "Route", "explain"]

PROGRAM = "EDGETL_SSH"
"""Environment variable: the ssh program to use."""

_BOOTSTRAP = "import sys; b = sys.stdin.buffer; exec(b.read(int(b.readline())))"
_PYTHON = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+-]*")
_OPTIONS = (
    *("-T", "-x", "-a", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ForwardAgent=no"),
    *("-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no", "-o", "RequestTTY=no"),
    *("-o", "ControlMaster=no", "-o", "ControlPath=none"),  # to end ours must end nobody else's
)
_ANSWER_SECONDS = (
    120.0  # to hash a large file takes a board a while; a dead network is ssh's to find, in 15 s
)
_MOST_LINE = 64 << 20
_MOST_WORDS = 1 << 16
_CHUNK = 1 << 18


class ConnectionLostError(DeviceError):
    """A connection that was there is gone; it is worth connecting again."""


@dataclass(frozen=True)
class Route:
    """How a device is reached, and the name of its Python."""

    address: Address
    python: str = "python3"

    def __post_init__(self) -> None:
        if not _PYTHON.fullmatch(self.python):
            raise InputError(
                f"{self.python!r} is no name of a Python on a device; write one such as /opt/venv/bin/python3"
            )

    def command(self) -> list[str]:
        """The command that connects.

        Raises:
            InputError: if there is no ssh program.
        """
        chosen = os.environ.get(PROGRAM)
        program = shutil.which(chosen or "ssh")
        if program is None and chosen:
            raise InputError(f"{PROGRAM} is {chosen!r}, which is no ssh program")
        if program is None:
            raise InputError("no ssh program found; install OpenSSH's client (package openssh-client)")
        return [program, *_OPTIONS, *self.address.arguments(), f"exec {self.python} -I -c '{_BOOTSTRAP}'"]


class Connection:
    """Requests to the agent of one device, one at a time.

    Raises:
        DeviceError: if the device can't be reached, or has no fit Python.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        pipe, command = subprocess.PIPE, route.command()
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        except OSError as error:
            raise DeviceError(f"{route.address}: {command[0]} can't be started: {error.strerror}") from error
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._words = b""
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self._pending = b""
        agent = resources.files("edgetl.remote").joinpath("agent.py").read_bytes()
        try:
            self.write(b"%d\n" % len(agent) + agent)
            self.hello = self.ask("hello")
        except ConnectionLostError as error:
            why = self._why() or str(error)
            self.close()
            broken = any(word in why for word in _BROKEN)
            raise (ConnectionLostError if broken else DeviceError)(why) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cut(self) -> None:
        """Break the connection off, from another thread: whoever waits for an answer gets an error."""
        self._process.terminate()

    def close(self) -> None:
        """End the connection; whatever runs on the device goes on."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, verb: str, **fields: Any) -> Answer:
        """The answer to a request.

        Raises:
            DeviceError: if the device refuses it.
            ConnectionLostError: if the connection is gone.
        """
        self.tell(verb, **fields)
        return self.answer()

    def tell(self, verb: str, **fields: Any) -> None:
        """A request that is not answered, or whose answers are read one by one."""
        self.write(json.dumps({"verb": verb, **fields}).encode() + b"\n")

    def answer(self) -> Answer:
        """The next line.

        Raises:
            DeviceError: if it is an error, or no line that an agent writes.
            ConnectionLostError: if the connection is gone.
        """
        while b"\n" not in self._pending:
            if len(self._pending) > _MOST_LINE:
                raise DeviceError(f"{self._route.address} sent a line without an end")
            self._pending += self._read()
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            found = parse(line, self._route.address)
        except ValueError as error:
            text = line[:200].decode(errors="replace").strip()
            raise DeviceError(
                f"{self._route.address} printed {text!r} at login; its shell must print nothing there"
            ) from error
        if "error" in found:
            raise DeviceError(f"{self._route.address}: {brief(found['error'])}")
        return found

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes, at least one."""
        data = self._pending or self._read()
        self._pending = data[count:]
        return data[:count]

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            ConnectionLostError: if the connection is gone, or takes nothing for two minutes.
        """
        view = memoryview(data)
        while view:
            if not select.select([], [self._requests], [], _ANSWER_SECONDS)[1]:
                raise self._lost("takes no data")
            try:
                view = view[os.write(self._requests, view[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost("closed the connection") from error

    def _read(self) -> bytes:
        deadline = time.monotonic() + _ANSWER_SECONDS
        left = deadline - time.monotonic()
        if not select.select([self._answers], [], [], max(0.0, left))[0]:
            raise self._lost(f"has not answered for {_ANSWER_SECONDS:.0f} s")
        data = os.read(self._answers, _CHUNK)
        if not data:
            raise self._lost("closed the connection")
        return data

    def _lost(self, what: str) -> ConnectionLostError:
        return ConnectionLostError(f"{self._route.address} {what}")

    def _listen(self, stream: IO[bytes]) -> None:
        """Keep the last of what ssh prints; a pipe that nobody empties would stop it."""
        with contextlib.suppress(OSError, ValueError), stream:
            while data := stream.read(_CHUNK):
                self._words = (self._words + data)[-_MOST_WORDS:]

    def _why(self) -> str | None:
        """Why there is no connection, of what ssh said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._listener.join(timeout=1)
        lines = [printable(line.strip()) for line in self._words.decode(errors="replace").splitlines()]
        return explain(self._route, [line for line in lines if line])


_BROKEN = ("closed", "reset", "Broken pipe", "banner exchange")
"""Words of ssh about a connection that broke while it was made."""

_REASONS: Mapping[str, str] = {
    "Host key verification failed": (
        "{address}: its host key is not known here, or is another than it was; connect once with "
        "`{login}` and compare the fingerprint with the device's own"
    ),
    "Permission denied (": "{address} takes none of your keys; see that `{login}` asks for no password "
    "(ssh-copy-id, ssh-agent)",
    "Could not resolve hostname": "{address}: no host has this name; check it, or give its IP address",
    "Connection refused": "{address} refuses connections; is sshd running there, on that port?",
    "timed out": "{address} does not answer; is it switched on and reachable?",
    "No route to host": "{address} can't be reached; is it switched on and on this network?",
}


_NO_HOME = "Could not chdir to home directory"
"""How sshd's remark begins on a home that is not there, which is the agent's to judge."""


def explain(route: Route, lines: list[str]) -> str | None:
    """One line of what ssh printed, with what to do; None if it printed nothing."""
    lines = [line for line in lines if not line.startswith(_NO_HOME)]
    said = " ".join(lines)
    address = route.address
    port, user = (f" -p {address.port}" if address.port else ""), (f"{address.user}@" if address.user else "")
    login = f"ssh{port} {user}{address.host}"
    for words, meaning in _REASONS.items():
        if words in said:
            return meaning.format(address=address, login=login)
    another = f"give another with: edgetl device add NAME {address} --python"
    if "not found" in said or "No such file" in said:
        return f"{address} has no {route.python}; {another}"
    if "Permission denied" in said:
        return f"{address} may not run {route.python}; {another}"
    if "SyntaxError" in said or "ImportError" in said or "ModuleNotFoundError" in said:
        return f"{address}: its {route.python} is too old; edgetl needs Python 3.10 or later there"
    return f"{address}: {brief(lines[-1])}" if lines else None
