"""edgetl device, and bench --on, as they are typed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edgetl.cli.main import main
from edgetl.remote.agent import FOLDER
from tests.boards.sshd import Sshd

BRIEF = ("--brief", "--seconds", "0.05")


def edgetl(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_a_device_is_added_listed_cleaned_and_forgotten(
    board: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgetl("device", "ls") == 0
    assert "no device has a name yet" in capsys.readouterr().err
    assert edgetl("device", "add", "desk", board.url, "--json") == 0
    added = json.loads(capsys.readouterr().out)
    assert added["name"] == "desk" and added["machine"] and added["emulated"] is None
    assert any(name.startswith("onnxruntime") for name in added["engines"])
    assert edgetl("device", "ls", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "desk", "address": board.url, "python": "python3"}
    ]
    assert (board.home / FOLDER).exists()
    assert edgetl("device", "clean", "desk") == 0
    assert "MB are free again" in capsys.readouterr().out
    assert not (board.home / FOLDER).exists()
    assert edgetl("device", "remove", "desk") == 0
    assert edgetl("device", "remove", "desk") == 2
    assert "no device is called 'desk'" in capsys.readouterr().err


def test_what_can_not_be_reached_is_not_added(board: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgetl("device", "add", "gone", "ssh://root@127.0.0.1:1") == 1
    assert edgetl("device", "add", "odd", "127.0.0.1") == 2
    assert edgetl("device", "add", "-- -x", board.url) == 2
    assert edgetl("bench", "nowhere", "--on", "gone") == 2
    errors = capsys.readouterr().err
    assert "refuses connections" in errors and "no address of a device" in errors
    assert edgetl("device", "ls", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_bench_on_a_device_and_compare_with_a_baseline(
    board: Sshd, bundle: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, new = tmp_path / "base.json", tmp_path / "new.json"
    bench = ("bench", bundle, "--images", image_folder, "--on", board.url, *BRIEF)
    assert edgetl(*bench, "-o", base) == 0
    told = capsys.readouterr().out
    assert "by the same engine" in told and "100.0 %" in told and "agree" in told
    junit, markdown = tmp_path / "junit.xml", tmp_path / "pr.md"
    files = ("--baseline", base, "--junit", junit, "--markdown", markdown)
    assert edgetl(*bench, "-o", new, *files) == 0
    assert "p50 latency" in capsys.readouterr().out
    [engine] = json.loads(new.read_text())["engines"]
    assert engine["against"]["digest"] == engine["digest"]  # the same bundle, which takes turns with itself
    assert ET.parse(junit).getroot().tag == "testsuites" and "p50 latency" in markdown.read_text()
    assert edgetl("compare", base, new) == 0
    assert edgetl("bench", bundle, "--junit", junit) == 2
    assert "--baseline" in capsys.readouterr().err
    assert edgetl("bench", bundle, "--baseline", tmp_path / "none.json") == 2


def test_a_worse_result_fails_against_its_baseline(
    board: Sshd, bundle: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base.json"
    assert edgetl("bench", bundle, "--images", image_folder, "-o", base, *BRIEF) == 0
    document = json.loads(base.read_text())
    document["engines"][0]["size_bytes"] //= 2
    base.write_text(json.dumps(document))
    assert edgetl("bench", bundle, "--images", image_folder, "--baseline", base, *BRIEF) == 1
    assert "size" in capsys.readouterr().out
    assert edgetl("bench", bundle, "--install") == 2
    assert "name it with --on" in capsys.readouterr().err
