"""The device's end of a connection: keeps files by their digest, starts jobs, tells what they write.

This file is sent over the connection and run by the device's own Python (3.10 or later, standard library
only); nothing of it stays there. It reads requests, one JSON line each, and answers each with one; bytes
follow the line that announces them. Everything it keeps lies in one folder of the user's home:

    blobs/<sha256>      files, by content; ``.<sha256>.<client>.part`` while they arrive
    trees/<digest>/     folders made of them: a worker's code, a bundle
    environments/<id>/  packages installed on request, see ``installer``
    jobs/<id>/          request.json, journal.jsonl, output, out/; ``alive`` is locked while the job runs
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

FOLDER = ".edgetl-device"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[0-9a-f]{32}")
_CHUNK = 1 << 18
_BEAT_SECONDS = 2.0
_POLL_SECONDS = 0.25
_DAY = 86400.0
_END_SECONDS = 3.0


class Refused(Exception):
    """A request that is not carried out; the message goes back in one line."""


_WRONG = (Refused, OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile)


def _named(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Refused(f"{str(value)[:80]!r} is no identifier")
    return value


def _inside(folder: Path, name: Any) -> Path:
    path = PurePosixPath(str(name))
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in str(name):
        raise Refused(f"{str(name)[:80]!r} is no path inside a folder")
    return folder.joinpath(*path.parts)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Agent:
    """Answers one connection."""

    def __init__(self, root: Path, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self.root = root
        self._trouble: OSError | Refused | None = None
        for name in ("blobs", "trees", "jobs", "store"):
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def serve(self) -> None:
        """Answer until the other end closes."""
        verbs: dict[str, Callable[..., dict[str, Any] | None]] = {
            **{"hello": self.hello, "have": self.have, "put": self.put, "tree": self.tree},
            **{"start": self.start, "follow": self.follow, "outputs": self.outputs, "get": self.get},
            **{"stop": self.stop, "clean": self.clean},
        }
        for line in iter(self._source.readline, b""):
            try:
                request = json.loads(line)
                answer = verbs[request.pop("verb")](**request)
            except _WRONG as error:
                answer = {"error": " ".join(str(error).split()) or type(error).__name__}
            if answer is not None:
                self._tell(answer)

    def _tell(self, answer: dict[str, Any]) -> None:
        self._sink.write(json.dumps(answer).encode() + b"\n")
        self._sink.flush()

    def hello(self) -> dict[str, Any]:
        return {
            "python": ".".join(map(str, sys.version_info[:3])),
            "executable": sys.executable,
            "machine": os.uname().machine,
            "folder": str(self.root),
            "environment": str(self._environment()),
            "installed": (self._environment() / "installed").exists(),
            "free_bytes": shutil.disk_usage(self.root).free,
        }

    def _environment(self) -> Path:
        """Where packages are installed for this Python; another has another, and so has a newer one."""
        python = f"{sys.executable} {sys.version_info[0]}.{sys.version_info[1]}"
        return self.root / "environments" / hashlib.sha256(python.encode()).hexdigest()[:16]

    def _blob(self, digest: Any) -> Path:
        return self.root / "blobs" / _named(digest, _DIGEST)

    def _part(self, digest: Any, client: Any) -> Path:
        return self.root / "blobs" / f".{_named(digest, _DIGEST)}.{_named(client, _NAME)}.part"

    def have(self, client: str, files: dict[str, int]) -> dict[str, Any]:
        """Of the files asked for, those that are not here, with how much of each has arrived.

        Beside them the trouble there was since the last time, if sending again may help.
        """
        trouble, self._trouble = self._trouble, None
        if isinstance(trouble, OSError):
            raise Refused(f"could not keep a file: {trouble}")
        missing = {}
        for digest, size in files.items():
            blob = self._blob(digest)
            if _file_size(blob) == size and blob.exists():
                os.utime(blob)
            else:
                missing[digest] = _file_size(self._part(digest, client))
        return {"missing": missing, **({"trouble": str(trouble)} if trouble else {})}

    def put(self, client: str, digest: str, offset: int, count: int, last: bool) -> None:
        """Take ``count`` bytes of a file. Not answered, so that many files don't wait for each other: the
        next ``have`` tells what is still missing, and the trouble there was.

        A connection that hung may end long after another has brought the file. So all bytes are read before
        the file is looked at, and go where they belong in it: to write them twice changes nothing.
        """
        piece = self._source.read(int(count))
        broken_off = len(piece) < count
        try:
            part = self._part(digest, client)
            if broken_off and self._blob(digest).exists():
                return
            if _file_size(part) != offset:
                raise Refused(f"{digest} was to go on at {offset}")
            _write(part, offset, piece, sync=last)
            if last and not broken_off:
                self._keep(part, digest)
        except OSError as error:
            self._trouble = self._trouble or error
            part.unlink(missing_ok=True)  # or a full disk would stay full
        except Refused as error:
            self._trouble = self._trouble or error

    def _keep(self, part: Path, digest: str) -> None:
        if _sha256(part) != digest:
            part.unlink()
            raise Refused(f"{digest} arrived damaged")
        part.chmod(0o400)
        os.replace(part, self._blob(digest))

    def tree(
        self, name: str, files: dict[str, str] | None = None, archive: str | None = None
    ) -> dict[str, Any]:
        """Make a folder of blobs, or of an archive among them, unless it is there already."""
        folder = self.root / "trees" / _named(name, _DIGEST)
        if not folder.exists():
            making = folder.with_name(f".{name}.{os.getpid()}")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            if archive is not None:
                with zipfile.ZipFile(self._blob(archive)) as packed:
                    packed.extractall(making)
            for path, digest in (files or {}).items():
                target = _inside(making, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self._blob(digest), target)
            _sync(making)  # a tree that has its name is whole, whatever happens to the power
            with contextlib.suppress(OSError):  # somebody else made the same
                os.rename(making, folder)
            shutil.rmtree(making, ignore_errors=True)
        os.utime(folder)
        return {"path": str(folder)}

    def _job(self, job: Any) -> Path:
        return self.root / "jobs" / _named(job, _NAME)

    def start(self, job: str, worker: str, request: dict[str, Any], own_python: bool) -> dict[str, Any]:
        """Start a job in a session of its own, once: whoever asks again is told how it is.

        With ``own_python`` it runs in the environment that was installed for edgetl.
        """
        folder = self._job(job)
        (folder / "out").mkdir(parents=True, exist_ok=True)
        with (folder / "alive").open("a") as alive:
            if not _take(alive, patience=1.0):
                return {"state": "running"}
            if (folder / "started").exists():
                fcntl.flock(alive, fcntl.LOCK_UN)
                return self._state(folder)
            python = self._environment() / "bin" / "python"
            (folder / "request.json").write_text(json.dumps(request))
            (folder / "journal.jsonl").touch()
            with (folder / "output").open("wb") as output:
                child = subprocess.Popen(  # the child inherits the lock, which falls when it ends
                    [
                        str(python) if own_python else sys.executable,
                        str(self.root / "trees" / _named(worker, _DIGEST)),
                        str(folder),
                    ],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=[alive.fileno()],
                )
            (folder / "started").write_text(str(child.pid))
        return {"state": "running"}

    def _state(self, folder: Path) -> dict[str, Any]:
        if (folder / "result.json").exists():
            return {"state": "done"}
        try:
            with (folder / "alive").open("rb") as alive:
                running = not _take(alive, fcntl.LOCK_SH)
        except FileNotFoundError:
            return {"state": "unknown"}
        if running:
            return {"state": "running"}
        if (folder / "result.json").exists():  # written between the two looks
            return {"state": "done"}
        if not (folder / "started").exists():
            return {"state": "unknown"}
        return {"state": "died", "last": _last_words(folder / "output")}

    def follow(self, job: str, offset: int) -> dict[str, Any]:
        """Tell the journal's lines from ``offset`` on as they are written, until the job has ended."""
        folder = self._job(job)
        told = time.monotonic()
        while True:
            state = self._state(folder)
            for line, behind in _lines(folder / "journal.jsonl", offset):
                self._tell({"line": line, "offset": behind})
                offset = behind
                told = time.monotonic()
            if state["state"] != "running":
                return {**state, "end": True}
            if (
                time.monotonic() - told > _BEAT_SECONDS
            ):  # or a connection that hangs would look like a long job
                self._tell({"beat": True})
                told = time.monotonic()
            time.sleep(_POLL_SECONDS)

    def outputs(self, job: str) -> dict[str, Any]:
        """The job's result, and its output files with their sizes and digests."""
        folder = self._job(job)
        out = folder / "out"
        paths = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.is_symlink()]
        files = {p.relative_to(out).as_posix(): {"bytes": _file_size(p), "sha256": _sha256(p)} for p in paths}
        return {"result": json.loads((folder / "result.json").read_bytes()), "files": files}

    def get(self, job: str, path: str, offset: int) -> None:
        """The rest of an output file: a line with the number of bytes, then the bytes."""
        with _inside(self._job(job) / "out", path).open("rb") as stream:
            count = os.fstat(stream.fileno()).st_size - offset
            stream.seek(offset)
            self._tell({"count": count})
            while count > 0 and (chunk := stream.read(min(count, _CHUNK))):
                self._sink.write(chunk)
                count -= len(chunk)
            self._sink.flush()

    def stop(self, job: str) -> dict[str, Any]:
        """End a job and all it started, and remove its files."""
        folder = self._job(job)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._runs(folder):
                with contextlib.suppress(OSError, ValueError):
                    os.killpg(int((folder / "started").read_text()), number)
            deadline = time.monotonic() + _END_SECONDS
            while self._runs(folder) and time.monotonic() < deadline:
                time.sleep(0.02)
        if self._runs(folder):
            return {"state": "running"}
        shutil.rmtree(folder, ignore_errors=True)
        return {"state": "stopped"}

    def _runs(self, folder: Path) -> bool:
        return bool(self._state(folder)["state"] == "running")

    def clean(self, days: float) -> dict[str, Any]:
        """Remove what was not used for some days; what runs now is left alone.

        Any job that runs may need any file, however old it looks: clocks are set, and differ from a server's.
        """
        removed, before = 0, shutil.disk_usage(self.root).free
        running = {folder for folder in (self.root / "jobs").iterdir() if self._runs(folder)}
        for folder in _old(self.root / "jobs", days):
            if folder not in running:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        if not running:
            for path in (
                path for kind in ("trees", "blobs", "store") for path in _old(self.root / kind, days)
            ):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                removed += 1
            if days <= 0:
                shutil.rmtree(self.root, ignore_errors=True)
        freed = shutil.disk_usage(self.root.parent).free - before
        return {"removed": removed, "running": len(running), "freed_bytes": max(0, freed)}


def _old(folder: Path, days: float) -> list[Path]:
    limit = time.time() - days * _DAY
    return [path for path in folder.iterdir() if path.lstat().st_mtime <= limit]


def _take(handle: Any, kind: int = fcntl.LOCK_EX, patience: float = 0.0) -> bool:
    """Take a file's lock; with patience, as somebody may just be looking whether it is held."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _write(part: Path, offset: int, piece: bytes, sync: bool) -> None:
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
        stream.seek(offset)
        stream.write(piece)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _link(blob: Path, target: Path) -> None:
    try:
        os.link(blob, target)
    except OSError:  # a file system without links
        shutil.copyfile(blob, target)


def _lines(path: Path, offset: int) -> Iterator[tuple[Any, int]]:
    """Whole lines from ``offset`` on, each with the offset behind it."""
    with path.open("rb") as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield json.loads(line), offset


def _last_words(path: Path) -> str:
    with contextlib.suppress(OSError):
        lines = path.read_bytes()[-4096:].decode(errors="replace").splitlines()
        return " ".join(next((line for line in reversed(lines) if line.strip()), "").split())[:300]
    return ""


def main() -> None:
    """Serve in the user's home, or say why not."""
    os.umask(0o077)
    try:
        agent = Agent(Path.home() / FOLDER, sys.stdin.buffer, sys.stdout.buffer)
    except (OSError, RuntimeError) as error:
        said = f"edgetl needs a home folder there that it can write to, but: {error}"
        print(json.dumps({"error": said}), flush=True)
    else:
        agent.serve()


if __name__ == "__main__":
    main()
