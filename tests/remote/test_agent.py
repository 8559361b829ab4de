"""The agent as it runs on a device, over a pipe instead of ssh."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgetl.remote import agent as agent_module

CLIENT = "c" * 32
JOB = "a" * 32
_BOOTSTRAP = "import sys; b = sys.stdin.buffer; exec(b.read(int(b.readline())))"


class Pipe:
    """The other end of an agent."""

    def __init__(self, home: Path) -> None:
        self.root = home / agent_module.FOLDER
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "HOME": str(home)},
        )
        source = Path(agent_module.__file__).read_bytes()
        self.write(b"%d\n" % len(source) + source)

    def write(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def tell(self, verb: str, **fields: Any) -> None:
        self.write(json.dumps({"verb": verb, **fields}).encode() + b"\n")

    def line(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        self.tell(verb, **fields)
        return self.line()

    def read(self, count: int) -> bytes:
        assert self._process.stdout
        return self._process.stdout.read(count)

    def put(self, data: bytes, offset: int = 0, count: int | None = None, digest: str | None = None) -> str:
        """A piece of a file; returns the whole file's digest."""
        digest = digest or sha256(data)
        piece = data[offset:][:count]
        last = offset + len(piece) >= len(data)
        self.tell("put", client=CLIENT, digest=digest, offset=offset, count=len(piece), last=last)
        self.write(piece)
        return digest

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[], Pipe]]:
    pipes: list[Pipe] = []

    def connected() -> Pipe:
        pipes.append(Pipe(tmp_path))
        return pipes[-1]

    yield connected
    for pipe in pipes:
        pipe.close()


@pytest.fixture
def agent(connect: Callable[[], Pipe]) -> Pipe:
    return connect()


def program(agent: Pipe, source: str) -> str:
    """A worker's tree of one file; returns its name."""
    name = sha256(source.encode())
    agent.put(source.encode())
    assert "path" in agent.ask("tree", name=name, files={"__main__.py": name})
    return name


def start(agent: Pipe, worker: str, job: str = JOB) -> dict[str, Any]:
    return agent.ask("start", job=job, worker=worker, request={"x": 1}, own_python=False)


def follow(agent: Pipe, offset: int = 0) -> list[dict[str, Any]]:
    agent.tell("follow", job=JOB, offset=offset)
    told = [agent.line()]
    while not told[-1].get("end"):
        told.append(agent.line())
    return [line for line in told if "beat" not in line]


DONE = "import pathlib, sys\n(pathlib.Path(sys.argv[1]) / 'result.json').write_text('{\"ok\": 1}')\n"


def test_files_are_kept_by_digest(agent: Pipe) -> None:
    data = os.urandom(700_000)
    wanted = {sha256(data): len(data), sha256(b""): 0}
    assert agent.ask("have", client=CLIENT, files=wanted) == {"missing": dict.fromkeys(wanted, 0)}
    agent.put(data)
    agent.put(b"")
    assert agent.ask("have", client=CLIENT, files=wanted) == {"missing": {}}
    assert (agent.root / "blobs" / sha256(data)).read_bytes() == data


def test_a_file_goes_on_where_it_broke_off(connect: Callable[[], Pipe]) -> None:
    data = os.urandom(100_000)
    first = connect()
    first.tell("put", client=CLIENT, digest=sha256(data), offset=0, count=len(data), last=True)
    first.write(data[:60_000])
    first.close()
    second = connect()
    missing = second.ask("have", client=CLIENT, files={sha256(data): len(data)})["missing"]
    assert missing == {sha256(data): 60_000}
    assert second.ask("have", client="d" * 32, files={sha256(data): len(data)})["missing"] == {
        sha256(data): 0
    }
    second.put(data, offset=60_000)
    assert second.ask("have", client=CLIENT, files={sha256(data): len(data)}) == {"missing": {}}


def test_damaged_and_misplaced_pieces_are_not_kept(agent: Pipe) -> None:
    data = os.urandom(1000)
    wrong = sha256(b"something else")
    agent.put(data, digest=wrong)
    assert "arrived damaged" in agent.ask("have", client=CLIENT, files={wrong: 1000})["error"]
    assert agent.ask("have", client=CLIENT, files={wrong: 1000})["missing"] == {wrong: 0}
    agent.put(data, offset=10)
    assert "was to go on at 10" in agent.ask("have", client=CLIENT, files={})["error"]
    assert sorted(path.name for path in (agent.root / "blobs").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a\0b", "."])
def test_no_file_is_written_outside(agent: Pipe, name: str) -> None:
    digest = agent.put(b"data")
    answer = agent.ask("tree", name="f" * 64, files={name: digest})
    assert "no path inside" in answer["error"]
    assert not (agent.root / "trees" / ("f" * 64)).exists()


@pytest.mark.parametrize(
    ("verb", "fields"),
    [
        ("start", {"job": "../../x", "worker": "f" * 64, "request": {}, "own_python": False}),
        ("start", {"job": JOB, "worker": "../x", "request": {}, "own_python": False}),
        ("follow", {"job": "", "offset": 0}),
        ("get", {"job": JOB, "path": "../request.json", "offset": 0}),
        ("outputs", {"job": JOB}),
        ("stop", {"job": 7}),
        ("tree", {"name": "x"}),
        ("have", {"client": CLIENT, "files": {"../x": 1}}),
        ("have", {"client": "../x", "files": {"f" * 64: 1}}),
        ("have", {"client": CLIENT, "files": 3}),
        ("nothing", {}),
        ("hello", {"surplus": 1}),
    ],
)
def test_wrong_requests_are_answered(agent: Pipe, verb: str, fields: dict[str, Any]) -> None:
    assert "\n" not in agent.ask(verb, **fields)["error"]
    assert agent.ask("hello")["machine"] == os.uname().machine


def test_what_is_no_request_is_answered(agent: Pipe) -> None:
    for text in (b"{\n", b"[]\n", b"null\n", b'"x"\n', b"\xff\n"):
        agent.write(text)
        assert "error" in agent.line()


def test_archives_can_leave_no_folder(agent: Pipe, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("../../escaped", "x")
    digest = agent.put(archive.read_bytes())
    agent.ask("tree", name="f" * 64, archive=digest)
    assert not list(tmp_path.glob("escaped")) and not list(agent.root.glob("escaped"))


def test_a_job_runs_once_and_tells_what_it_writes(agent: Pipe) -> None:
    source = (
        "import json, pathlib, sys\njob = pathlib.Path(sys.argv[1])\n"
        "assert json.loads((job / 'request.json').read_text()) == {'x': 1}\n"
        "with (job / 'journal.jsonl').open('a') as journal:\n"
        '    journal.write(\'{"stage": "s"}\\n{"end": "s"}\\n\')\n'
        "(job / 'out' / 'data.bin').write_bytes(b'0123456789')\n"
        "(job / 'out' / 'runs').open('a').write('x')\n"
    ) + DONE
    worker = program(agent, source)
    assert start(agent, worker)["state"] == "running"
    lines = follow(agent)
    assert [line.get("line") for line in lines] == [{"stage": "s"}, {"end": "s"}, None]
    assert lines[-1] == {"state": "done", "end": True}
    assert start(agent, worker)["state"] == "done"
    told = agent.ask("outputs", job=JOB)
    assert told["result"] == {"ok": 1}
    assert told["files"]["data.bin"] == {"bytes": 10, "sha256": sha256(b"0123456789")}
    assert told["files"]["runs"]["bytes"] == 1
    agent.tell("get", job=JOB, path="data.bin", offset=4)
    assert agent.line() == {"count": 6} and agent.read(6) == b"456789"
    assert [line.get("line") for line in follow(agent, lines[0]["offset"])] == [{"end": "s"}, None]


def test_a_job_outlives_its_connection(connect: Callable[[], Pipe], tmp_path: Path) -> None:
    agent = connect()
    go = tmp_path / "go"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.01)\n"
    worker = program(agent, wait + DONE)
    start(agent, worker)
    agent.close()
    again = connect()
    assert start(again, worker)["state"] == "running"
    go.touch()
    assert follow(again) == [{"state": "done", "end": True}]


def test_a_job_that_dies_leaves_its_last_words(agent: Pipe) -> None:
    start(agent, program(agent, "raise SystemExit('out of memory, say')\n"))
    assert follow(agent) == [{"state": "died", "last": "out of memory, say", "end": True}]
    assert agent.ask("outputs", job=JOB)["error"]


def test_a_job_can_be_stopped_and_is_not_cleaned_while_it_runs(agent: Pipe) -> None:
    worker = program(agent, "import time\ntime.sleep(60)\n")
    start(agent, worker)
    answer = agent.ask("clean", days=0)
    assert (answer["running"], answer["removed"]) == (1, 0)
    assert (agent.root / "trees" / worker).exists()
    agent.ask("stop", job=JOB)
    deadline = time.monotonic() + 10
    while agent.ask("start", job=JOB, worker=worker, request={}, own_python=False)["state"] == "running":
        assert time.monotonic() < deadline
    assert agent.ask("clean", days=0)["running"] == 0
    assert not agent.root.exists()


def test_cleaning_keeps_what_was_used_lately(agent: Pipe) -> None:
    old, new = agent.put(b"old"), agent.put(b"new")
    agent.ask("have", client=CLIENT, files={})
    long_ago = time.time() - 10 * 86400
    os.utime(agent.root / "blobs" / old, (long_ago, long_ago))
    assert agent.ask("clean", days=7)["removed"] == 1
    assert [path.name for path in (agent.root / "blobs").iterdir()] == [new]
