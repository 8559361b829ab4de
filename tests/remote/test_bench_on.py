"""A bundle measured on a device, compared with what it does here."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgetl import api
from edgetl.bundle.write import MEASUREMENTS
from edgetl.context import Context
from edgetl.data import Dataset
from edgetl.device.lock import measuring_alone
from edgetl.errors import BundleError, EdgetlError
from edgetl.remote.agent import FOLDER
from edgetl.remote.devices import Device, add_device, route_to
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


def test_an_altered_bundle_is_not_sent(board: Sshd, bundle: Path, tmp_path: Path) -> None:
    altered = Path(shutil.copytree(bundle, tmp_path / "altered"))
    (altered / MEASUREMENTS).write_text("{}\n\n")
    with pytest.raises(BundleError, match="altered"):
        api.bench(altered, on=[board.url])
    assert not (board.home / FOLDER).exists()


def test_one_measurement_at_a_time(tmp_path: Path) -> None:
    import threading

    order: list[str] = []
    notes: list[str] = []
    inside = threading.Event()

    def other() -> None:
        inside.wait()
        with measuring_alone(notes.append, tmp_path):
            order.append("second")

    thread = threading.Thread(target=other)
    thread.start()
    with measuring_alone(notes.append, tmp_path):
        inside.set()
        thread.join(timeout=1.0)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert notes == ["waiting: another measurement runs on this machine"]


def test_where_nothing_can_be_locked_a_note_says_so(tmp_path: Path) -> None:
    notes: list[str] = []
    with measuring_alone(notes.append, tmp_path / "not there"):
        pass
    assert len(notes) == 1 and "can't be kept out" in notes[0]


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
    [job] = jobs.iterdir()
    with (job / "alive").open("rb") as alive:
        for _ in range(100):
            try:
                fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        else:
            raise AssertionError("the job goes on")
    assert not (job / "result.json").exists()
