"""A toolchain in a process of its own: JSON lines over pipes, a time limit on each answer, noise in a log.

Toolchains crash, hang, run out of memory and print what they like; here each of that is one error line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from edgetl.errors import BackendError

_SERVE = Path(__file__).with_name("serve.py")
_CHUNK = 1 << 16
_COLOUR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")


class Worker:
    """A child that answers one request at a time; arrays travel as files that requests name.

    It ends with the thread that made it, even if that is killed.

    Args:
        name: of the toolchain, for errors.
        python: interpreter of the environment the toolchain lives in.
        module: file whose ``HANDLERS`` (functions by verb, JSON in and out) the child answers with; for
            another environment it may import the standard library and that environment's packages only.
        log: what the child and its libraries print; None for a file of its own in the temporary folder,
            which stays there after ``close`` only if an error has named it.
        environment: variables besides those of this process.
    """

    def __init__(
        self,
        name: str,
        python: str,
        module: Path,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._passing = log is None
        self.log = log = log or _temporary_log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._pending = b""
        command = [python, "-I", str(_SERVE), str(module), str(requests), str(answers)]
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        try:
            with log.open("ab") as noise:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=noise,
                    stderr=noise,
                    pass_fds=(requests, answers),
                    env={**variables, **(environment or {})},
                    start_new_session=True,
                )
        except OSError as error:
            os.close(self._requests)
            os.close(self._answers)
            self._drop_log()
            raise BackendError(f"{name} cannot be started with {python}: {error.strerror}") from error
        finally:
            os.close(requests)
            os.close(answers)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, verb: str, *, timeout: float, **fields: Any) -> dict[str, Any]:
        """One answer of the child.

        Args:
            timeout: seconds the answer may take; a child that takes longer is killed.

        Raises:
            BackendError: what the child reported, or that it died or gave no answer in time.
        """
        if self._requests < 0:
            raise BackendError(f"{self._name} was stopped and can't be asked {verb!r}")
        line = json.dumps({"verb": verb, "fields": fields}) + "\n"
        try:
            _write_all(self._requests, line.encode())
            reply = self._read_line(time.monotonic() + timeout)
        except BrokenPipeError:
            reply = None
        except TimeoutError:
            log = self.name_log()  # before the child is closed, which drops a log that nobody named
            self.close()
            said = f"{self._name} gave no answer to {verb!r} within {timeout:g} s and was stopped"
            raise BackendError(f"{said}; log: {log}") from None
        if reply is None:
            raise BackendError(self._how_it_died(verb))
        answer: dict[str, Any] = json.loads(reply)
        if "error" in answer:
            raise BackendError(f"{self._name}: {answer['error']}; log: {self.name_log()}")
        found: dict[str, Any] = answer["answer"]
        return found

    def close(self) -> None:
        """Stop the child and whatever it started. May be called twice."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for end in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(end)
        self._requests = self._answers = -1
        self._drop_log()

    def name_log(self) -> Path:
        """The log, for an error that names it; it is kept then."""
        self._passing = False
        return self.log

    def _drop_log(self) -> None:
        if self._passing:
            self.log.unlink(missing_ok=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_line(self, deadline: float) -> bytes | None:
        """The next line, or None where the child has closed its end.

        Raises:
            TimeoutError: if the deadline passes first.
        """
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise TimeoutError
            chunk = os.read(self._answers, _CHUNK)
            if not chunk:
                return None
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _how_it_died(self, verb: str) -> str:
        status = self._process.wait()
        log = f"log: {self.name_log()}"
        if status == -signal.SIGKILL:  # what it printed last has no part in that
            return f"{self._name} was killed, by somebody or because memory ran out, in {verb!r}; {log}"
        how = f"crashed ({signal.Signals(-status).name})" if status < 0 else f"ended with status {status}"
        return f"{self._name} {how} in {verb!r}{_last_words(self.log)}; {log}"


def _temporary_log(name: str) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())
    handle, path = tempfile.mkstemp(prefix=f"edgetl-{slug}-", suffix=".log")
    os.close(handle)
    return Path(path)


def _write_all(end: int, data: bytes) -> None:
    while data:
        data = data[os.write(end, data) :]


def _last_words(log: Path) -> str:
    """The last line a child printed, for an error."""
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        printed = _COLOUR.sub("", stream.read().decode(errors="replace"))
        lines = [line for line in printed.splitlines() if line.strip()]
        if lines:
            return f": {' '.join(lines[-1].split())[:300]}"
    return ""
