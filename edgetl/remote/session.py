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
from edgetl.remote.answers import Answer, brief
from edgetl.remote.archive import installer, worker
from edgetl.remote.devices import Device
from edgetl.remote.ssh import Connection, ConnectionLostError, DeviceError

T = TypeVar("T")
Content = Path | bytes

_PATIENCE_SECONDS = 180.0
_FIRST_TRIES = 4
_PUT = 1 << 18
_ROUNDS_OF_SENDING = 5
_ASKED = 1000  # files at once: a slow disk must answer in time
_MOST_FILES = 10_000
_MISSING = re.compile(r"No module named '(\w+)'")
_PYTHON = re.compile(r"(\d{1,3})\.(\d{1,3})")
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
        self._cancelled = False
        self._connection: Connection | None = None
        _LIVE.add(self)
        try:
            self.hello = self._first_connection().hello
            self._require_fit()
            self._own_python = self.hello.take("installed", bool)
        except BaseException:
            self.close()
            raise

    def _first_connection(self) -> Connection:
        """A device that can't be reached is an error at once; one whose answer broke off is asked again."""
        for _ in range(_FIRST_TRIES - 1):
            with contextlib.suppress(ConnectionLostError):
                return self._connect()
        return self._connect()

    def _connect(self) -> Connection:
        """A new connection. Who cancels meanwhile finds none to cut, hence the looks before and after."""
        self._heed()
        self._connection = Connection(self.device.route)
        self._heed()
        return self._connection

    def _heed(self) -> None:
        if self._cancelled:
            raise CancelledError(f"{self.device.name}: interrupted")

    def _require_fit(self) -> None:
        for name in ("folder", "environment", "executable"):
            self.hello.take(name, str)
        said = self.hello.take("python", str)
        version = _PYTHON.match(said)
        if version is None or tuple(map(int, version.groups())) < _OLDEST_PYTHON:
            raise DeviceError(
                f"{self.device.name}: its {self.device.route.python} is Python {brief(said)}; "
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

    def ask(self, verb: str, **fields: Any) -> Answer:
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
            before: tuple[dict[str, int], str] | None = None
            for _ in range(_ROUNDS_OF_SENDING):
                missing, trouble = self._missing(connection, sizes, progress)
                if not missing:
                    return
                if (missing, trouble) == before:
                    break  # sent in vain, and again in vain
                before = missing, trouble
                total = sum(max(0, sizes[digest] - offset) for digest, offset in missing.items())
                begun = sent
                for digest, offset in missing.items():
                    for message in _messages(files[digest], digest, offset, self.client):
                        connection.tell("put", **message[0])
                        connection.write(message[1])
                        progress()
                        sent += len(message[1])
                        if advance:
                            advance(sent - begun, total)
            raise DeviceError(
                f"{self.device.name}: files don't arrive whole there{': ' * bool(trouble)}{trouble}"
            )

        self._persist(attempt)
        return sent

    def _missing(
        self, connection: Connection, sizes: Mapping[str, int], progress: Callable[[], None]
    ) -> tuple[dict[str, int], str]:
        """How much has arrived of each file that is not there whole, and what was the trouble with one."""
        missing: dict[str, int] = {}
        trouble = ""
        digests = list(sizes)
        for start in range(0, len(digests), _ASKED):
            asked = {digest: sizes[digest] for digest in digests[start : start + _ASKED]}
            told = connection.ask("have", client=self.client, files=asked)
            progress()
            trouble = trouble or brief(told.get("trouble", ""))
            found = told.inside("missing", told.get("missing"))
            if not found.keys() <= asked.keys():
                raise DeviceError(f"{self.device.name} misses files that it was not asked for")
            missing |= {digest: found.count(digest) for digest in found}
        return missing, trouble

    def folder(self, files: Mapping[str, Path], advance: Advance | None = None) -> str:
        """A folder of these files, by relative POSIX path, on the device; returns its path there."""
        digests = {name: sha256_file(path) for name, path in files.items()}
        self.send({digests[name]: path for name, path in files.items()}, advance)
        name = hashlib.sha256("\n".join(f"{p} {digests[p]}" for p in sorted(digests)).encode()).hexdigest()
        return self.ask("tree", name=name, files=digests).take("path", str)

    def install(self, packages: Sequence[str]) -> None:
        """Install packages into an environment of edgetl's own, which jobs use from now on.

        Raises:
            DeviceError: if they can't be installed.
        """
        with self.observer.stage(f"{self.device.name}: install {', '.join(packages)}"):
            request = {"environment": self.hello["environment"], "packages": list(packages)}
            self._job(installer(), request)
        self._own_python = True

    def run(self, request: Mapping[str, Any], out: Path | None = None, most: int = 0) -> Answer:
        """Run a worker's job to its end, showing its progress.

        Args:
            out: where its output files go; None if they are not wanted.
            most: bytes that these can have in all.

        Returns:
            The job's result.

        Raises:
            DeviceError: if it failed or died.
        """
        return self._job(worker(), request, out, most)

    def _job(
        self, archive: bytes, request: Mapping[str, Any], out: Path | None = None, most: int = 0
    ) -> Answer:
        digest = hashlib.sha256(archive).hexdigest()
        self.send({digest: archive})
        self.ask("tree", name=digest, archive=digest)
        job = uuid.uuid4().hex
        try:
            end = self._follow(job, digest, dict(request))
            if end.get("state") != "done":
                last = brief(end.get("last") or "")
                raise self._failure(f"the job died there{': ' if last else ''}{last}")
            result = self._fetch(job, out, most)
        except BaseException:
            self._disconnect()  # whatever was being said on it
            with contextlib.suppress(DeviceError), Connection(self.device.route) as connection:
                connection.ask("stop", job=job)
            raise
        with contextlib.suppress(DeviceError):
            self.ask("stop", job=job)
        if "failed" in result:
            raise self._failure(brief(result["failed"]))
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
                        offset = told.count("offset")
                        replay.show(told["line"])
                    if told.get("end"):
                        return told

            return self._persist(attempt)

    def _fetch(self, job: str, out: Path | None, most: int) -> Answer:
        told = self.ask("outputs", job=job)
        if out is not None:
            files = {name: told.inside(name, facts) for name, facts in told.take("files", dict).items()}
            size = sum(facts.count("bytes") for facts in files.values())
            if size > most or len(files) > _MOST_FILES:
                offered = f"{len(files)} files of {size:,} bytes"
                raise DeviceError(
                    f"{self.device.name} offers {offered}; {most:,} is the most it can have made"
                )
            for name, facts in files.items():
                self._fetch_file(job, name, facts, out)
        return told.inside("result", told.get("result"))

    def _fetch_file(self, job: str, name: str, facts: Answer, out: Path) -> None:
        try:
            target = out / safe_path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._get(job, name, target, facts.count("bytes"))
        except BundleError as error:
            raise DeviceError(f"{self.device.name} offers a file that is refused: {error}") from error
        except OSError as error:
            raise DeviceError(f"{self.device.name}: {name} can't be kept here: {error.strerror}") from error
        if sha256_file(target) != facts.get("sha256"):
            raise DeviceError(f"{self.device.name}: {name} arrived damaged")

    def _get(self, job: str, name: str, target: Path, size: int) -> None:
        target.write_bytes(b"")

        def attempt(connection: Connection, progress: Callable[[], None]) -> None:
            with target.open("r+b") as stream:
                offset = stream.seek(0, os.SEEK_END)
                connection.tell("get", job=job, path=name, offset=offset)
                left = connection.answer().count("count")
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
                connection = self._connection
                if connection is None:
                    connection = self._connect()
                    self.reconnected += 1
                return attempt(connection, progress)
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

    def show(self, line: object) -> None:
        """What a line of the journal says; one of no known form says nothing."""
        match line:
            case {"stage": title}:
                self._advance = self._open.enter_context(self._observer.stage(self._named(title)))
            case {"advance": [int(done), int(total)]} if self._advance:
                self._advance(done, total)
            case {"end": _}:
                self._advance = None
                self._open.close()
            case {"note": text}:
                self._observer.note(self._named(text))

    def _named(self, text: object) -> str:
        return f"{self._device}: {brief(text)}"


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
