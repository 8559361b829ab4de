"""The whole story with a device at its end, over a real sshd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.boards import sshd
from tests.boards.python import board_path
from tests.e2e.driving import QUICK, Command, Run, write_shapes


def test_engines_are_measured_on_the_device_of_their_kind(
    finished: Run,
    shapes: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if reason := sshd.skip_reason():
        pytest.skip(reason)
    out = tmp_path / "out"
    targets = ("--target", "x86-onnxruntime", "--target", "arm64-cpu", *QUICK)
    with sshd.Sshd(environment={"PATH": board_path(tmp_path / "python")}) as board:
        monkeypatch.setenv("EDGETL_SSH", str(board.wrapper))
        done = command("run", shapes, *targets, "--on", board.url, "-o", out)
        there, here = json.loads((out / "results.json").read_text())["engines"]
        assert there["error"] is None and there["device"]["environment"]["machine"]
        assert there["device"]["host"]["agreement"]["value"] == 1
        assert there["accuracy"]["kind"] == "measured" and there["drop_points"] is not None
        assert there["latency_ms"]["p50"]["kind"] == "measured"
        assert there["roofline"] is not None and there["cold_start"]
        assert "device" not in here and here["latency_ms"] is None
        assert "arm64-cpu is not measured on" in done.stderr
        page = (out / "report.html").read_text()
        assert "From host to device" in page and board.url.removeprefix("ssh://") in page
        few = write_shapes(tmp_path / "few", 4)
        nobody = command("run", few, "--target", "arm64-cpu", "--on", board.url, check=False)
        assert nobody.returncode == 2 and "is not measured on" in nobody.stderr
    results = finished.out / "results.json"
    assert json.loads(command("compare", results, results, "--json").stdout)["status"] == 0
