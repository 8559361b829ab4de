"""The agent as it runs on a device, over a pipe instead of ssh."""

from __future__ import annotations

import hashlib
import io
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
    told = agent.ask("have", client=CLIENT, files={wrong: 1000})
    assert told["missing"] == {wrong: 0} and "arrived damaged" in told["trouble"]
    assert agent.ask("have", client=CLIENT, files={wrong: 1000}) == {"missing": {wrong: 0}}
    agent.put(data, offset=10)
    assert "was to go on at 10" in agent.ask("have", client=CLIENT, files={})["trouble"]
    assert sorted(path.name for path in (agent.root / "blobs").iterdir()) == []


def test_a_connection_that_hung_spoils_nothing(connect: Callable[[], Pipe]) -> None:
    data = os.urandom(100_000)
    wanted = {sha256(data): len(data)}
    hung, second = connect(), connect()
    hung.tell("put", client=CLIENT, digest=sha256(data), offset=0, count=len(data), last=True)
    hung.write(data[:60_000])
    second.put(data)
    assert second.ask("have", client=CLIENT, files=wanted) == {"missing": {}}
    tree = second.ask("tree", name="f" * 64, files={"engine.bin": sha256(data)})
    hung.close()  # the device has noticed at last that nobody is there
    assert second.ask("have", client=CLIENT, files=wanted) == {"missing": {}}
    assert (Path(tree["path"]) / "engine.bin").read_bytes() == data
    assert [path.name for path in (second.root / "blobs").iterdir()] == [sha256(data)]


def test_a_hung_connections_bytes_come_between_no_pieces(connect: Callable[[], Pipe]) -> None:
    data = os.urandom(3000)
    hung, second = connect(), connect()
    hung.tell("put", client=CLIENT, digest=sha256(data), offset=0, count=1000, last=False)
    hung.write(data[:600])
    second.put(data, count=1000)
    assert second.ask("have", client=CLIENT, files={sha256(data): 3000})["missing"] == {sha256(data): 1000}
    hung.close()
    second.put(data, offset=1000, count=1000)
    second.put(data, offset=2000)
    assert second.ask("have", client=CLIENT, files={sha256(data): 3000}) == {"missing": {}}


def test_a_full_disk_is_left_as_it_was(agent: Pipe) -> None:
    data = os.urandom(3000)
    agent.ask("hello")
    (agent.root / "blobs" / f".{sha256(data)}.{CLIENT}.part").symlink_to("/dev/full")
    agent.put(data)
    assert "No space left" in agent.ask("have", client=CLIENT, files={sha256(data): 3000})["error"]
    assert list((agent.root / "blobs").iterdir()) == []


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


def test_a_tree_is_on_the_disk_before_it_has_its_name(
    agent: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("inside/packed.py", "x")
    digest = agent.put(archive.read_bytes())
    agent.ask("have", client=CLIENT, files={})
    order: list[str] = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda file: (order.append(str(Path(f"/proc/self/fd/{file}").readlink())), sync(file))
    )
    monkeypatch.setattr(os, "rename", lambda a, b: (order.append("named"), rename(a, b)))
    agent_module.Agent(agent.root, io.BytesIO(), io.BytesIO()).tree("f" * 64, archive=digest)
    places = [path.removeprefix(f"{agent.root}/trees/").partition("/")[2] for path in order]
    assert places[-1] == "" and set(places[:-1]) == {"", "inside", "inside/packed.py"}
    assert order[-1] == "named" and order.count("named") == 1


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


def test_a_job_can_be_stopped_and_leaves_nothing(agent: Pipe) -> None:
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    ready = "import pathlib, sys\n(pathlib.Path(sys.argv[1]) / 'ready').touch()\n"
    start(agent, program(agent, stubborn + ready + "time.sleep(60)\n"))
    folder = agent.root / "jobs" / JOB
    while not (folder / "ready").exists():
        time.sleep(0.01)
    pid = int((folder / "started").read_text())
    assert agent.ask("stop", job=JOB) == {"state": "stopped"}
    assert not folder.exists() and "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    assert agent.ask("stop", job=JOB) == {"state": "stopped"}


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
@pytest.mark.parametrize("days", [0.0, 0.01])
def test_nothing_of_a_running_job_is_cleaned(agent: Pipe, days: float, seconds: float) -> None:
    """Whether it began long ago, or the clock is an hour behind."""
    worker = program(agent, "import time\ntime.sleep(60)\n")
    image = agent.put(b"image")
    start(agent, worker)
    kept = [agent.root / place for place in (f"jobs/{JOB}", f"trees/{worker}", f"blobs/{image}")]
    then = time.time() + seconds
    for path in kept[(seconds < 0) :]:
        os.utime(path, (then, then))
    answer = agent.ask("clean", days=days)
    assert (answer["running"], answer["removed"]) == (1, 0) and all(path.exists() for path in kept)
    agent.ask("stop", job=JOB)
    assert agent.ask("clean", days=0)["running"] == 0
    assert not agent.root.exists()


def test_a_home_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / agent_module.FOLDER).touch()
    pipe = Pipe(tmp_path)
    said = pipe.line()["error"]
    assert "home folder there that it can write to" in said and f"Not a directory: '{pipe.root}/" in said
    pipe.close()


def test_another_python_at_the_same_path_has_another_environment(tmp_path: Path) -> None:
    made = agent_module.Agent(tmp_path, io.BytesIO(), io.BytesIO())
    before = made.hello()["environment"]
    assert made.hello()["environment"] == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "version_info", (3, 99, 0))
        assert made.hello()["environment"] != before


def test_cleaning_keeps_what_was_used_lately(agent: Pipe) -> None:
    old, new = agent.put(b"old"), agent.put(b"new")
    agent.ask("have", client=CLIENT, files={})
    long_ago = time.time() - 10 * 86400
    os.utime(agent.root / "blobs" / old, (long_ago, long_ago))
    assert agent.ask("clean", days=7)["removed"] == 1
    assert [path.name for path in (agent.root / "blobs").iterdir()] == [new]
