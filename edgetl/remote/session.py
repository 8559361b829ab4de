"""A device for the length of a command: what is sent, run and fetched there survives a lost connection."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from edgetl.bundle.limits import safe_path
from edgetl.errors import BundleError
from edgetl.files import sha256_file
from edgetl.progress import Advance, Observer
from edgetl.remote.archive import installer, worker
from edgetl.remote.devices import Device
from edgetl.remote.ssh import Connection, ConnectionLostError, DeviceError

T = TypeVar("T")
Content = Path | bytes

_PATIENCE_SECONDS = 180.0
_FIRST_TRIES = 4
_PUT = 1 << 18
_ROUNDS_OF_SENDING = 5
_MISSING = re.compile(r"No module named '(\w+)'")
_OLDEST_PYTHON = (3, 10)


class MissingThereError(DeviceError):
    """A package that a job needs is not on the device."""


class CancelledError(DeviceError):
    """It was given up on request."""


class Remote:
    """Files and one job on a device.

    Whatever breaks off is tried again for three minutes without any progress. The job itself runs on the
    device in a session of its own and does not notice.

    Raises:
        DeviceError: if the device can't be reached.
    """

    def __init__(self, device: Device, observer: Observer) -> None:
        self.device, self.observer = device, observer
        self.client = uuid.uuid4().hex
        self.reconnected = 0
        self._connection: Connection | None = _first_connection(device)
        self.hello = self._connection.hello
        self._own_python = bool(self.hello["installed"])
        self._cancelled = False
        _LIVE.add(self)
        self._require_python()

    def _require_python(self) -> None:
        version = tuple(int(part) for part in str(self.hello["python"]).split(".")[:2])
        if version < _OLDEST_PYTHON:
            self.close()
            raise DeviceError(
                f"{self.device.name}: its {self.device.route.python} is Python {self.hello['python']}; "
                "edgetl needs 3.10 or later there: edgetl device add … --python PATH"
            )

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        _LIVE.discard(self)
        self._disconnect()

    def cancel(self) -> None:
        """Give up what is being done, from another thread; a job is stopped."""
        self._cancelled = True
        connection = self._connection
        if connection is not None:
            connection.cut()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """The answer to a request that may be asked twice."""
        return self._persist(lambda connection, progress: connection.ask(verb, **fields))

    def send(self, files: Mapping[str, Content], advance: Advance | None = None) -> int:
        """Bring files, by SHA-256, to the device; those that are there already stay.

        Args:
            advance: told bytes sent and to send.

        Returns:
            Bytes that were sent.

        Raises:
            DeviceError: if a file does not arrive whole.
        """
        sizes = {digest: _size(content) for digest, content in files.items()}
        sent = 0

        def attempt(connection: Connection, progress: Callable[[], None]) -> None:
            nonlocal sent
            for _ in range(_ROUNDS_OF_SENDING):
                missing = connection.ask("have", client=self.client, files=sizes)["missing"]
                progress()
                if not missing:
                    return
                total = sum(sizes[digest] - offset for digest, offset in missing.items())
                begun = sent
                for digest, offset in missing.items():
                    for message in _messages(files[digest], digest, int(offset), self.client):
                        connection.tell("put", **message[0])
                        connection.write(message[1])
                        progress()
                        sent += len(message[1])
                        if advance:
                            advance(sent - begun, total)
            raise DeviceError(f"{self.device.name}: files don't arrive whole there")

        self._persist(attempt)
        return sent

    def folder(self, files: Mapping[str, Path], advance: Advance | None = None) -> str:
        """A folder of these files, by relative POSIX path, on the device; returns its path there."""
        digests = {name: sha256_file(path) for name, path in files.items()}
        self.send({digests[name]: path for name, path in files.items()}, advance)
        name = hashlib.sha256("\n".join(f"{p} {digests[p]}" for p in sorted(digests)).encode()).hexdigest()
        return str(self.ask("tree", name=name, files=digests)["path"])

    def install(self, packages: Sequence[str]) -> None:
        """Install packages into an environment of edgetl's own, which jobs use from now on.

        Raises:
            DeviceError: if they can't be installed.
        """
        with self.observer.stage(f"{self.device.name}: install {', '.join(packages)}"):
            request = {"environment": self.hello["environment"], "packages": list(packages)}
            self._job(installer(), request, None)
        self._own_python = True

    def run(self, request: Mapping[str, Any], out: Path) -> dict[str, Any]:
        """Run a worker's job to its end, showing its progress; its output files go into ``out``.

        Returns:
            The job's result.

        Raises:
            DeviceError: if it failed or died.
        """
        return self._job(worker(), request, out)

    def _job(self, archive: bytes, request: Mapping[str, Any], out: Path | None) -> dict[str, Any]:
        digest = hashlib.sha256(archive).hexdigest()
        self.send({digest: archive})
        self.ask("tree", name=digest, archive=digest)
        job = uuid.uuid4().hex
        try:
            end = self._follow(job, digest, dict(request))
            if end["state"] != "done":
                last = str(end.get("last") or "")
                raise self._failure(f"the job died there{': ' if last else ''}{last}")
            result = self._fetch(job, out)
        except (KeyboardInterrupt, CancelledError):
            self._disconnect()
            with contextlib.suppress(DeviceError), Connection(self.device.route) as connection:
                connection.ask("stop", job=job)
            raise
        with contextlib.suppress(DeviceError):
            self.ask("clean", days=0, jobs=[job])
        if "failed" in result:
            raise self._failure(str(result["failed"]))
        return result

    def _failure(self, said: str) -> DeviceError:
        """What went wrong there, with what to do where a package is missing."""
        missing = _MISSING.search(said)
        if missing is None:
            return DeviceError(f"{self.device.name}: {said}")
        return MissingThereError(
            f"{self.device.name}: its {self.device.route.python} has no {missing[1]}; install it there, name "
            "another Python (edgetl device add … --python PATH), or let edgetl bench … --install do it"
        )

    def _follow(self, job: str, digest: str, request: dict[str, Any]) -> dict[str, Any]:
        offset = 0
        with _Replay(self.observer, self.device.name) as replay:

            def attempt(connection: Connection, progress: Callable[[], None]) -> dict[str, Any]:
                nonlocal offset
                connection.ask("start", job=job, worker=digest, request=request, own_python=self._own_python)
                connection.tell("follow", job=job, offset=offset)
                while True:
                    told = connection.answer()
                    progress()
                    if "line" in told:
                        offset = int(told["offset"])
                        replay.show(told["line"])
                    if told.get("end"):
                        return told

            return self._persist(attempt)

    def _fetch(self, job: str, out: Path | None) -> dict[str, Any]:
        told = self.ask("outputs", job=job)
        if out is not None:
            for name, facts in told["files"].items():
                self._fetch_file(job, name, facts, out)
        result: dict[str, Any] = told["result"]
        return result

    def _fetch_file(self, job: str, name: str, facts: Mapping[str, Any], out: Path) -> None:
        try:
            target = out / safe_path(name)
        except BundleError as error:
            raise DeviceError(f"{self.device.name} offers a file that is refused: {error}") from error
        target.parent.mkdir(parents=True, exist_ok=True)
        self._get(job, name, target, int(facts["bytes"]))
        if sha256_file(target) != facts["sha256"]:
            raise DeviceError(f"{self.device.name}: {name} arrived damaged")

    def _get(self, job: str, name: str, target: Path, size: int) -> None:
        target.write_bytes(b"")

        def attempt(connection: Connection, progress: Callable[[], None]) -> None:
            with target.open("r+b") as stream:
                offset = stream.seek(0, os.SEEK_END)
                connection.tell("get", job=job, path=name, offset=offset)
                left = int(connection.answer()["count"])
                if offset + left != size:
                    raise DeviceError(f"{self.device.name}: {name} changed while it was fetched")
                while left:
                    data = connection.read(left)
                    stream.write(data)
                    left -= len(data)
                    progress()

        self._persist(attempt)

    def _persist(self, attempt: Callable[[Connection, Callable[[], None]], T]) -> T:
        """Try until it succeeds; a time without progress that is too long gives up."""
        last = time.monotonic()

        def progress() -> None:
            nonlocal last
            last = time.monotonic()

        wait = 0.2
        while True:
            try:
                if self._connection is None:
                    self._connection = Connection(self.device.route)
                    self.reconnected += 1
                return attempt(self._connection, progress)
            except DeviceError as error:
                connected = self._connection is not None
                if connected and not isinstance(error, ConnectionLostError):
                    raise  # the device's own word
                self._disconnect()
                if self._cancelled:
                    raise CancelledError(f"{self.device.name}: interrupted") from error
                if time.monotonic() - last > _PATIENCE_SECONDS:
                    raise DeviceError(f"{error}; gave up after {_PATIENCE_SECONDS:.0f} s") from error
                time.sleep(wait)
                wait = min(5.0, 1.5 * wait)


_LIVE: set[Remote] = set()


def cancel_all() -> None:
    """Give up whatever is being done on devices, and stop their jobs."""
    for remote in list(_LIVE):
        remote.cancel()


def _first_connection(device: Device) -> Connection:
    """A device that can't be reached is an error at once; one whose answer broke off is asked again."""
    for _ in range(_FIRST_TRIES - 1):
        with contextlib.suppress(ConnectionLostError):
            return Connection(device.route)
    return Connection(device.route)


class _Replay:
    """A job's journal, shown as if the stages ran here."""

    def __init__(self, observer: Observer, device: str) -> None:
        self._observer, self._device = observer, device
        self._open = ExitStack()
        self._advance: Advance | None = None

    def __enter__(self) -> _Replay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._open.close()
        else:
            self._open.__exit__(kind, error, trace)

    def show(self, line: Mapping[str, Any]) -> None:
        if "stage" in line:
            self._advance = self._open.enter_context(self._observer.stage(f"{self._device}: {line['stage']}"))
        elif "advance" in line and self._advance:
            done, total = line["advance"]
            self._advance(int(done), int(total))
        elif "end" in line:
            self._advance = None
            self._open.close()
        elif "note" in line:
            self._observer.note(f"{self._device}: {line['note']}")


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _messages(
    content: Content, digest: str, offset: int, client: str
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """A file's rest in pieces, each with the request that announces it."""
    size = _size(content)
    for data in _pieces(content, offset):
        last = offset + len(data) >= size
        fields = {"client": client, "digest": digest, "offset": offset, "count": len(data), "last": last}
        yield fields, data
        offset += len(data)


def _pieces(content: Content, offset: int) -> Iterator[bytes]:
    """At least one piece, or an empty file would never be sent."""
    if isinstance(content, bytes):
        yield from (content[start : start + _PUT] for start in range(offset, len(content), _PUT))
        if offset >= len(content):
            yield b""
        return
    with content.open("rb") as stream:
        stream.seek(offset)
        yield stream.read(_PUT)
        yield from iter(lambda: stream.read(_PUT), b"")
