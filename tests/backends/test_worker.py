"""The child process that toolchains live in: answers, errors, deaths, hangs, noise, leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.backends.worker import Worker
from edgetl.errors import BackendError

CHILD = """
import os, signal, subprocess, sys, time

def echo(**fields):
    return fields

def fail(text):
    raise ValueError(text)

def noise():
    print("on stdout")
    print("on stderr", file=sys.stderr)
    os.write(1, b"native\\n")
    return {"stdin": sys.stdin.read()}

def say(text):
    os.write(1, text.encode())
    return {}

def die(number):
    print("last words")
    sys.stdout.flush()
    os.kill(os.getpid(), number)

def leave(status):
    os._exit(status)

def sleep(seconds):
    time.sleep(seconds)
    return {}

def spawn():
    return {"pid": subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid}

def where():
    import sibling
    return {"path": sys.path, "sibling": sibling.VALUE, "variable": os.environ.get("EDGETL_TEST")}

HANDLERS = {f.__name__: f for f in (echo, fail, noise, say, die, leave, sleep, spawn, where)}
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "child.py"
    path.write_text(CHILD)
    (tmp_path / "sibling.py").write_text("VALUE = 7\n")
    return path


@pytest.fixture
def worker(module: Path, tmp_path: Path) -> Iterator[Worker]:
    with Worker(
        "toolkit", sys.executable, module, tmp_path / "logs" / "log.txt", {"EDGETL_TEST": "x"}
    ) as made:
        yield made


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def test_answers_one_request_after_another(worker: Worker) -> None:
    for value in (1, "zwei – ✓", [3.5, None], "x" * 300_000):
        assert worker.ask("echo", timeout=10, value=value) == {"value": value}


def test_an_error_is_one_line_and_the_child_goes_on(worker: Worker) -> None:
    with pytest.raises(BackendError, match=r"^toolkit: two lines; log: \S+$"):
        worker.ask("fail", timeout=10, text="two\n  lines\n")
    with pytest.raises(BackendError, match=r"^toolkit: ValueError; log: \S+$"):
        worker.ask("fail", timeout=10, text="")
    assert worker.ask("echo", timeout=10, value=1) == {"value": 1}


def test_noise_goes_into_the_log(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    assert worker.ask("noise", timeout=10) == {"stdin": ""}
    assert capfd.readouterr() == ("", "")
    log = worker.log.read_text()
    assert all(text in log for text in ("on stdout", "on stderr", "native"))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "was killed, by somebody or because memory ran out, in 'die'; log: "),
        (signal.SIGSEGV, "crashed (SIGSEGV) in 'die': last words; log: "),
    ],
)
def test_a_death_is_one_line_with_its_cause(worker: Worker, number: int, said: str) -> None:
    with pytest.raises(BackendError) as caught:
        worker.ask("die", timeout=10, number=number)
    text = str(caught.value)
    assert said in text and text.endswith(str(worker.log)) and "\n" not in text
    with pytest.raises(BackendError):
        worker.ask("echo", timeout=10)


def test_a_log_of_its_own_stays_only_if_an_error_names_it(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Worker("The Toolkit 2", sys.executable, module) as quiet:
        quiet.ask("noise", timeout=10)
        assert quiet.log.name.startswith("edgetl-the-toolkit-2-") and quiet.log.exists()
    assert list(tmp_path.glob("*.log")) == []
    with Worker("toolkit", sys.executable, module) as named, pytest.raises(BackendError) as caught:
        named.ask("fail", timeout=10, text="why")
    assert str(caught.value) == f"toolkit: why; log: {named.log}" and named.log.exists()


def test_last_words_have_no_colours(worker: Worker) -> None:
    worker.ask("say", timeout=10, text="\x1b[1;31mred\x1b[0m")
    with pytest.raises(BackendError, match="in 'leave': red; log"):
        worker.ask("leave", timeout=10, status=1)


def test_an_end_without_a_signal(worker: Worker) -> None:
    with pytest.raises(BackendError, match="ended with status 3 in 'leave'"):
        worker.ask("leave", timeout=10, status=3)


def test_killed_from_outside_while_it_works(worker: Worker) -> None:
    threading.Timer(0.3, os.kill, (worker.pid, signal.SIGKILL)).start()
    with pytest.raises(BackendError, match="was killed"):
        worker.ask("sleep", timeout=30, seconds=30)


def test_a_hang_ends_at_the_limit_with_all_it_started(worker: Worker) -> None:
    grandchild = worker.ask("spawn", timeout=10)["pid"]
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"no answer to 'sleep' within 0\.5 s"):
        worker.ask("sleep", timeout=0.5, seconds=60)
    assert time.monotonic() - began < 10
    assert gone(worker.pid) and gone(grandchild)
    with pytest.raises(BackendError, match="was stopped"):
        worker.ask("echo", timeout=1)


def test_closing_twice_leaves_nothing(module: Path, tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        worker = Worker("toolkit", sys.executable, module, tmp_path / "log.txt")
        worker.ask("echo", timeout=10)
        worker.close()
        worker.close()
        assert gone(worker.pid)
    assert len(list(descriptors.iterdir())) == before


def test_a_child_ends_with_its_parent(module: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edgetl.backends.worker import Worker\n"
        f"module, log = Path({str(module)!r}), Path({str(tmp_path / 'log')!r})\n"
        "worker = Worker('toolkit', sys.executable, module, log)\n"
        "worker.ask('echo', timeout=10); print(worker.pid, flush=True)\n"
        "worker.ask('sleep', timeout=60, seconds=60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    assert gone(pid)


def test_the_child_sees_its_own_environment_only(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, module: Path
) -> None:
    found = worker.ask("where", timeout=10)
    assert found["sibling"] == 7 and found["variable"] == "x"
    assert found["path"][-1] == str(module.parent)


def test_no_such_interpreter_or_module(module: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot be started with /nowhere/python: No such file"):
        Worker("toolkit", "/nowhere/python", module, tmp_path / "log.txt")
    with (
        Worker("toolkit", sys.executable, tmp_path / "absent.py", tmp_path / "log.txt") as worker,
        pytest.raises(BackendError, match=r"absent\.py"),
    ):
        worker.ask("echo", timeout=10)
