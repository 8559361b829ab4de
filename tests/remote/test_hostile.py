"""A device that answers what no agent would: one line for the user, and nothing of it is carried out."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgetl.cli.common import TerminalObserver
from edgetl.progress import Observer, Silent
from edgetl.remote.bundles import facts_of
from edgetl.remote.devices import Device, route_to
from edgetl.remote.session import Remote
from edgetl.remote.ssh import Connection, DeviceError

PROGRAM = """\
import json, sys
answers = json.load(open({answers!r}))
source = sys.stdin.buffer
source.read(int(source.readline()))
sys.stderr.write(answers.get("stderr", "") * 1000)
for line in iter(source.readline, b""):
    request = json.loads(line)
    if request["verb"] == "put":
        source.read(request["count"])
    else:
        sys.stdout.write("".join(answers[request["verb"]]))
        sys.stdout.flush()
"""
HELLO = {"python": "3.11.2", "folder": "/x", "environment": "/x/e", "executable": "/p", "installed": False}
DONE = {"state": "done", "end": True}
HONEST: dict[str, list[Any]] = {
    "hello": [HELLO],
    "have": [{"missing": {}}],
    "tree": [{"path": "/x/t"}],
    "start": [{"state": "running"}],
    "follow": [DONE],
    "outputs": [{"result": {"environment": {}, "backends": {}}, "files": {}}],
    "stop": [{"state": "stopped"}],
    "get": [{"count": 0}],
}
EMPTY = hashlib.sha256().hexdigest()

Answering = Callable[..., Device]


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Makes a device that gives its own answers to some verbs, as JSON values or as they stand."""

    def make(**own: Any) -> Device:
        every = {**HONEST, **own}
        told = {
            verb: [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
            for verb, lines in every.items()
            if verb != "stderr"
        }
        answers = tmp_path / "answers.json"
        answers.write_text(json.dumps({**told, "stderr": own.get("stderr", "")}))
        program = tmp_path / "ssh"
        program.write_text(f"#!{sys.executable}\n{PROGRAM.format(answers=str(answers))}")
        program.chmod(0o755)
        monkeypatch.setenv("EDGETL_SSH", str(program))
        return Device("odd", route_to("ssh://u@h"))

    return make


def test_an_honest_one_is_believed(answering: Answering) -> None:
    assert facts_of(answering(), Silent()) == {"environment": {}, "backends": {}, "python": "3.11.2"}


@pytest.mark.parametrize(
    ("verb", "answer", "said"),
    [
        ("hello", {"python": "3.11"}, "without a fit 'folder': None"),
        ("hello", {**HELLO, "python": ["3"]}, "without a fit 'python'"),
        ("hello", {**HELLO, "python": "new"}, "is Python new"),
        ("hello", "[" * 100_000 + "\n", "printed '\\[\\["),
        ("have", {"missing": {"0" * 64: 0}}, "misses files that it was not asked for"),
        ("have", {"missing": 3}, "without a fit 'missing': 3"),
        ("have", {}, "without a fit 'missing'"),
        ("follow", {"line": {"note": "x"}, "offset": -1}, "without a fit 'offset': -1"),
        ("follow", {"line": {"note": "x"}}, "without a fit 'offset'"),
        ("outputs", {"result": 3, "files": {}}, "without a fit 'result'"),
        ("outputs", {"result": {}, "files": {}}, "without a fit 'environment'"),
    ],
)
def test_answers_of_another_form_are_its_error(
    answering: Answering, verb: str, answer: Any, said: str
) -> None:
    with pytest.raises(DeviceError, match=said):
        facts_of(answering(**{verb: [answer]}), Silent())


@pytest.mark.parametrize(
    ("files", "count", "said"),
    [
        ({"a": {"bytes": -1, "sha256": "x"}}, -1, "without a fit 'bytes': -1"),
        ({"a": {"bytes": 5, "sha256": "x"}}, -1, "without a fit 'count': -1"),
        ({"a": {"sha256": "x"}}, 0, "without a fit 'bytes'"),
        ({"a": 1}, 0, "without a fit 'a': 1"),
        ({"a": {"bytes": 1 << 40, "sha256": "x"}}, 1 << 40, "1,000 is the most"),
        ({"../a": {"bytes": 0, "sha256": "x"}}, 0, "a file that is refused"),
        ({"a": {"bytes": 0, "sha256": "x"}}, 0, "a arrived damaged"),
        ({"a": {"bytes": 0, "sha256": EMPTY}, "a/b": {"bytes": 0}}, 0, "can't be kept here"),
    ],
)  # fmt: skip
def test_files_of_another_form_are_its_error(
    answering: Answering, tmp_path: Path, files: Any, count: int, said: str
) -> None:
    device = answering(outputs=[{"result": {}, "files": files}], get=[{"count": count}, "x" * 5])
    with Remote(device, Silent()) as remote, pytest.raises(DeviceError, match=said):
        remote.run({"verb": "bench"}, tmp_path / "out", 1000)


def test_its_text_drives_no_terminal(answering: Answering) -> None:
    screen = io.StringIO()
    observer: Observer = TerminalObserver(Console(file=screen, force_terminal=True, width=200))
    lines = [
        {"stage": "\x1b]0;pwned\x07[/nothing] [red]"},
        {"advance": "?"},
        {"end": 1},
        {"note": "\x1b[2J[/x]"},
        3,
    ]
    follow = [*({"line": line, "offset": number} for number, line in enumerate(lines)), DONE]
    result = {"failed": "\x1b[2Jit\nfailed"}
    device = answering(follow=follow, outputs=[{"result": result, "files": {}}])
    with pytest.raises(DeviceError, match=r"^odd: \\x1b\[2Jit\\nfailed$"):
        facts_of(device, observer)
    shown = screen.getvalue()
    assert "\x1b]0;" not in shown and "\x1b[2J" not in shown
    assert "odd: \\x1b]0;pwned\\x07[/nothing] [red]" in shown and "odd: \\x1b[2J[/x]" in shown
    with pytest.raises(DeviceError, match=r"^ssh://u@h: \\x1b\[2J no$"):
        facts_of(answering(follow=[{"error": "\x1b[2J no"}]), Silent())


def test_what_ssh_prints_without_end_is_not_kept(answering: Answering) -> None:
    with Connection(answering(stderr="x" * 9_999 + "\n").route) as made:
        assert made.hello["python"] == "3.11.2"
        assert 0 < len(made._words) <= 1 << 16
