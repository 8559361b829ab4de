"""A bundle measured on a device, compared with what it does here."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgetl import api, elsewhere, pipeline
from edgetl.backends.base import EngineSpec
from edgetl.bundle.write import MEASUREMENTS
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Dataset
from edgetl.elsewhere import Visit
from edgetl.engines import Standing
from edgetl.errors import BundleError, EdgetlError
from edgetl.findings import Findings, Task
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.stage import Speed
from edgetl.progress import Observer
from edgetl.remote.agent import FOLDER
from edgetl.remote.bundles import _findings
from edgetl.remote.devices import Device, add_device, route_to
from edgetl.remote.ssh import DeviceError
from edgetl.remote.worker import LOGITS
from edgetl.results import Scene
from tests.boards.sshd import Sshd

# a shell's background job ignores interrupts, and so does all that it starts
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgetl.cli.main import main
main()
"""
QUICK: dict[str, Any] = {"brief": True, "seconds": 0.05}


def engine_of(results: dict[str, Any]) -> dict[str, Any]:
    [engine] = results["engines"]
    found: dict[str, Any] = engine
    return found


def test_the_same_accuracy_there_as_here(board: Sshd, bundle: Path, image_folder: Path) -> None:
    here = engine_of(api.bench(bundle, image_folder, **QUICK))
    add_device(Device("desk", route_to(board.url)))
    results = api.bench(bundle, image_folder, on=["desk"], **QUICK)
    there = engine_of(results)
    assert there["accuracy"] == here["accuracy"] and there["confusion"] == here["confusion"]
    assert there["latency_ms"]["p50"]["kind"] == "measured" and there["latency_ms"]["p50"]["value"] > 0
    assert there["placement"] == here["placement"]
    device = there["device"]
    assert device["name"] == "desk" and device["environment"]["machine"]
    assert device["host"]["accuracy"] == there["accuracy"] and device["host"]["by"] == "the same engine"
    assert device["host"]["agreement"]["value"] == 1 and device["host"]["max_abs"]["value"] == 0
    assert device["host"]["drop_points"]["value"] == 0
    json.dumps(results)
    left = sorted(path.name for path in (board.home / FOLDER).iterdir())
    assert left == ["blobs", "jobs", "store", "trees"] and not list((board.home / FOLDER / "jobs").iterdir())


def test_devices_are_one_table_and_fail_alone(board: Sshd, bundle: Path) -> None:
    add_device(Device("desk", route_to(board.url)))
    add_device(Device("gone", route_to("ssh://root@127.0.0.1:1")))
    good, bad = api.bench(bundle, on=["desk", "gone", "desk"], **QUICK)["engines"]
    assert good["error"] is None and good["latency_ms"] and good["device"]["name"] == "desk"
    assert bad["device"] == {"name": "gone"} and bad["gate"] == "failed"
    assert "refuses connections" in bad["error"]
    with pytest.raises(EdgetlError, match="refuses connections"):
        api.bench(bundle, on=["gone"])


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (lambda found: _with_logits(found, found.predictions.logits * np.float32("nan")), "NaN|not finite"),
        (lambda found: _with_logits(found, found.predictions.logits[:, :0]), "odd sent results|classes"),
        (lambda found: replace(found, speed=replace(found.speed, latency={})), "odd sent results .*KeyError"),
        (lambda found: _raise(OSError(28, "No space left", "/tmp/x")), r"odd was not .*No space .*/tmp/x"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_device_is_its_own(
    board: Sshd,
    bundle: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Findings], Findings],
    said: str,
) -> None:
    add_device(Device("desk", route_to(board.url)))
    add_device(Device("odd", route_to(board.url)))
    find = elsewhere.find_there

    def find_there(there: Device, observer: Observer, task: Task) -> Findings:
        found = find(there, observer, task)
        return trouble(found) if there.name == "odd" else found

    monkeypatch.setattr(elsewhere, "find_there", find_there)
    good, bad = api.bench(bundle, image_folder, on=["desk", "odd"], **QUICK)["engines"]
    assert good["error"] is None and good["accuracy"] and good["latency_ms"]
    assert bad["accuracy"] is None and bad["latency_ms"] is None and bad["gate"] == "failed"
    assert bad["device"]["name"] == "odd" and re.search(said, bad["error"])


def _with_logits(found: Findings, logits: np.ndarray) -> Findings:
    assert found.predictions
    return replace(found, predictions=replace(found.predictions, logits=logits))


def _raise(error: Exception) -> Findings:
    raise error


def test_numbers_of_no_known_kind_are_refused(tmp_path: Path) -> None:
    speed = Speed(None, None, {}, {}, {}, "2026-01-01T00:00:00+00:00")
    facts = Findings({}, "m", Standing("measured", True), None, speed, {}).to_dict()
    device = Device("odd", route_to("ssh://odd"))
    assert _findings(device, facts, tmp_path, (2, 3)).standing.kind == "measured"
    facts["standing"]["kind"] = "certified"
    with pytest.raises(DeviceError, match=r"odd sent results that can't be read: .*certified"):
        _findings(device, facts, tmp_path, (2, 3))


@pytest.mark.parametrize("wrong", [np.full((2, 3), np.nan, np.float32), np.zeros((2, 4), np.float32)])
def test_logits_that_can_not_be_are_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    speed = Speed(None, None, {}, {}, {}, "2026-01-01T00:00:00+00:00")
    found = Findings({}, "m", Standing("measured", True), Predictions((0, 1), wrong, {}), speed, {})
    np.save(tmp_path / LOGITS, wrong)
    with pytest.raises(DeviceError, match=r"odd sent results that can't be read: .*(not finite|4 logits)"):
        _findings(Device("odd", route_to("ssh://odd")), found.to_dict(), tmp_path, (2, 3))


def test_no_two_devices_share_a_folder() -> None:
    names = ("pi@nano", "pi-nano", "pi:nano", "pi@nano:22")
    assert len({elsewhere._file_name(name) for name in names}) == 4
    assert elsewhere._file_name("pi-nano") == "pi-nano"
    assert not any(set(elsewhere._file_name(name)) & set("@:") for name in names)


def test_a_device_that_failed_has_no_figures_of_the_host(
    tmp_path: Path, contract: Contract, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantity = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 9, "kind": "measured"}
    kept = {"bundle": "bundles/t", "recipe": "tiny", "refit": None, "error_analysis": [1]}
    host = {"target": "t", "accuracy": quantity, "latency_ms": {"p50": quantity}, "error": None, **kept}
    there = Device("nuc", route_to("ssh://nuc"))
    failed = Visit(there, tmp_path, DeviceError("nuc: gave up"), {"name": "nuc"})
    monkeypatch.setattr(pipeline, "_bundled", lambda *given: host)
    monkeypatch.setattr(pipeline, "visit", lambda *given: [failed])
    spec = EngineSpec("onnxruntime", "m.onnx", "int8", "f32", "CPUExecutionProvider")
    engine = SimpleNamespace(spec=spec, portable=tmp_path)
    deployment: Any = SimpleNamespace(target=SimpleNamespace(name="t"), engine=engine)
    options = pipeline.RunOptions(tmp_path, tmp_path)
    nothing: Any = None
    scene = Scene(dataset, contract, None)
    [section] = pipeline._sections(Context(), options, scene, deployment, nothing, nothing, {"t": [there]})
    assert section["accuracy"] is None and section["latency_ms"] is None
    assert (section["error"], section["gate"], section["device"]) == (
        "nuc: gave up",
        "failed",
        {"name": "nuc"},
    )
    assert {name: section[name] for name in kept} == kept


def test_an_altered_bundle_is_not_sent(board: Sshd, bundle: Path, tmp_path: Path) -> None:
    altered = Path(shutil.copytree(bundle, tmp_path / "altered"))
    (altered / MEASUREMENTS).write_text("{}\n\n")
    with pytest.raises(BundleError, match="altered"):
        api.bench(altered, on=[board.url])
    assert not (board.home / FOLDER).exists()


def test_the_aarch64_board_computes_the_same(
    arm64_board: Sshd, bundle: Path, image_folder: Path, dataset: Dataset
) -> None:
    there = engine_of(api.bench(bundle, image_folder, on=[arm64_board.url], context=Context()))
    everything = [*dataset.train, *dataset.val, *dataset.test]
    device = there["device"]
    assert device["environment"]["machine"] == "aarch64"
    assert "qemu" in device["environment"]["emulated"]
    assert there["latency_ms"] is None and there["throughput_per_s"] is None
    assert (there["accuracy"]["kind"], there["accuracy"]["n"]) == ("simulated", len(everything))
    assert device["host"]["agreement"]["value"] >= 0.995


def test_an_interrupt_stops_the_job_there(board: Sshd, bundle: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        INTERRUPTIBLE,
        "bench",
        str(bundle),
        "--on",
        board.url,
        "--seconds",
        "30",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    jobs = board.home / FOLDER / "jobs"
    deadline = time.monotonic() + 60
    while not (jobs.exists() and any("latency" in path.read_text() for path in jobs.glob("*/journal.jsonl"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert list(jobs.iterdir()) == []  # an agent removes a job's folder when it has seen it end
