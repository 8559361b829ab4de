"""The whole story with a device at its end, over a real sshd."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boards import sshd
from tests.boards.python import board_path
from tests.e2e.driving import Command, Run, write_shapes


def test_engines_are_measured_on_the_device_of_their_kind(
    story: Callable[..., Run], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := sshd.skip_reason():
        pytest.skip(reason)
    with sshd.Sshd(environment={"PATH": board_path(tmp_path / "python")}) as board:
        monkeypatch.setenv("EDGETL_SSH", str(board.wrapper))
        run = story("--target", "arm64-cpu", "--on", board.url)
        engines = {engine["target"]: engine for engine in run.results["engines"]}
        for name in ("x86-vnni", "x86-onnxruntime"):
            there = engines[name]
            assert there["error"] is None and there["device"]["environment"]["machine"]
            assert there["device"]["host"]["agreement"]["value"] == 1
            assert there["accuracy"]["kind"] == "measured" and there["drop_points"] is not None
            assert there["latency_ms"]["p50"]["kind"] == "measured"
            assert there["roofline"] is not None and there["cold_start"]
        assert "device" not in engines["arm64-cpu"] and engines["arm64-cpu"]["latency_ms"] is None
        assert "arm64-cpu is not measured on" in run.process.stderr
        page = (run.out / "report.html").read_text()
        assert "From host to device" in page and board.url.removeprefix("ssh://") in page
        results = run.out / "results.json"
        done = command("compare", results, results, "--json")
        assert json.loads(done.stdout)["status"] == 0
        nobody = command(
            "run", write_shapes(tmp_path / "few", 4), "--target", "arm64-cpu", "--on", board.url, check=False
        )
        assert nobody.returncode == 2 and "is not measured on" in nobody.stderr
