"""An engine that only its device can build: built there, fetched back, and measured."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl import api, backends
from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import read_manifest
from edgetl.bundle.runtime import load
from edgetl.bundle.verify import read_golden
from edgetl.bundle.write import MEASUREMENTS, PORTABLE, Content, write_bundle
from edgetl.context import Context
from edgetl.device.lock import measuring_alone
from edgetl.errors import BundleError, EdgetlError
from edgetl.progress import Silent
from edgetl.remote.session import Remote
from edgetl.remote.worker import REBUILT
from tests.boards import sshd
from tests.boards.sshd import Sshd

BACKEND = '''
"""A backend whose engines are built where they run, as a package of somebody else's."""
import shutil
from dataclasses import replace
from edgetl.backends.base import EngineSpec
from edgetl.backends.onnxruntime import OnnxRuntimeBackend
from edgetl.errors import BackendError

class Boardmade(OnnxRuntimeBackend):
    name = "boardmade"

    def rebuild(self, model, former, spec, folder):
        if former.read_text() == "broken":
            raise BackendError("this plan can't be built")
        shutil.copyfile(model, folder / "engine.onnx")
        return "engine.onnx"

    def load(self, engine, spec, *, throughput=False):
        if engine.suffix != ".onnx":
            raise BackendError(f"{engine.name} is a plan; build it on the device")
        return super().load(engine, replace(spec, backend="onnxruntime"), throughput=throughput)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The backend's package, installed for this process; the folder is for the board's PYTHONPATH."""
    folder = tmp_path / "packages"
    facts = folder / "boardmade-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / "boardmade_backend.py").write_text(BACKEND)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: boardmade\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[edgetl.backends]\nboardmade = boardmade_backend:Boardmade\n")
    monkeypatch.syspath_prepend(str(folder))
    backends._third_party.cache_clear()
    yield folder
    backends._third_party.cache_clear()


@pytest.fixture
def board(programs: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    if reason := sshd.skip_reason():
        pytest.skip(reason)
    with Sshd(environment={"PATH": programs, "PYTHONPATH": str(package)}) as running:
        monkeypatch.setenv("EDGETL_SSH", str(running.wrapper))
        yield running


def planned(bundle: Path, out: Path, plan: str) -> Path:
    """The bundle with a plan in place of its engine."""
    manifest = read_manifest(bundle)
    images, expected = read_golden(bundle, manifest)
    folder = out.with_name("planned-engine")
    folder.mkdir()
    (folder / "plan.json").write_text(plan)
    content = Content(
        target="boardmade",
        spec=replace(manifest.engine, backend="boardmade", file="plan.json"),
        engine=folder,
        portable=bundle / PORTABLE,
        contract=manifest.contract,
        labels=manifest.labels,
        precision=manifest.precision,
        device=manifest.device,
        versions=manifest.versions,
        provenance={},
        golden_input=images,
        golden_output=expected,
        measurements={"state": "plan", "drop_points": None},
    )
    return write_bundle(content, out)


def test_a_plan_is_built_and_measured_on_its_device(
    board: Sshd, bundle: Path, image_folder: Path, tmp_path: Path
) -> None:
    plan = planned(bundle, tmp_path / "plan", "{}")
    before = check_files(plan)
    [engine] = api.bench(plan, image_folder, on=[board.url], brief=True, seconds=0.05)["engines"]
    assert engine["error"] is None and engine["latency_ms"]["p50"]["kind"] == "measured"
    made = Path(engine["bundle"])
    assert made.parent == plan.parent and made != plan
    assert check_files(made).engine.file == "engine/engine.onnx"
    images, expected = read_golden(made, check_files(made))
    assert np.allclose(load(made).session.run(images[:1]), expected[:1], atol=1e-4)
    assert check_files(plan) == before


def test_an_engine_is_built_there_in_place(board: Sshd, bundle: Path, tmp_path: Path) -> None:
    plan = planned(bundle, tmp_path / "plan", "{}")
    section = api.rebuild(plan, on=board.url)
    assert section["bundle"] == str(plan) and section["golden_difference"]["same_top1"] == 2
    assert check_files(plan).engine.file == "engine/engine.onnx"
    assert json.loads((plan / MEASUREMENTS).read_text())["state"] == "built"


def test_another_bundle_that_comes_back_is_refused(
    board: Sshd, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(bundle, tmp_path / "plan", "{}")
    before = check_files(plan)
    came = tmp_path / "came"
    api.rebuild(plan, came, on=board.url)
    made = read_manifest(came)
    images, outputs = read_golden(came, made)
    other = tmp_path / "other.onnx"
    other.write_bytes((came / PORTABLE).read_bytes() + b"\0")
    spec = replace(made.engine, file="engine.onnx")
    content = Content(
        target=made.target,
        spec=spec,
        engine=came / "engine",
        portable=came / PORTABLE,
        contract=made.contract,
        labels=made.labels,
        precision=made.precision,
        device=made.device,
        versions=made.versions,
        provenance={},
        golden_input=images,
        golden_output=outputs,
        measurements={},
    )
    changes: dict[str, dict[str, Any]] = {
        "its backend": {"spec": replace(spec, backend="onnxruntime")},
        "its threads": {"spec": replace(spec, threads=7)},
        "what it was trained on": {"trained_on": ["c" * 64]},
        "its model": {"portable": other},
        "its golden images": {"golden_input": images // 2},
        "nothing": {},
    }
    for what, change in changes.items():
        changed = replace(content, **change)
        monkeypatch.setattr(Remote, "run", staticmethod(partial(_send_back, changed)))
        if what == "nothing":
            api.rebuild(plan, on=board.url)
            assert check_files(plan) != before
        else:
            with pytest.raises(BundleError, match=r"sent another bundle back; .*plan is as it was"):
                api.rebuild(plan, on=board.url)
            assert check_files(plan) == before


def _send_back(made: Content, request: Any, out: Path, most: int) -> dict[str, Any]:
    write_bundle(made, out / REBUILT)
    return {}


def test_what_can_not_be_built_there_leaves_the_plan(board: Sshd, bundle: Path, tmp_path: Path) -> None:
    plan = planned(bundle, tmp_path / "plan", "broken")
    before = check_files(plan)
    with pytest.raises(EdgetlError, match="this plan can't be built"):
        api.rebuild(plan, on=board.url)
    with pytest.raises(EdgetlError, match="this plan can't be built"):
        api.bench(plan, on=[board.url])
    with pytest.raises(EdgetlError, match="brings no runtime for boardmade"):
        api.bench(plan, on=board.url, install=True)
    assert check_files(plan) == before and sorted(tmp_path.glob("plan-on*")) == []
    with pytest.raises(EdgetlError, match="nothing to rebuild"):
        api.rebuild(shutil.copytree(bundle, tmp_path / "other"), on=board.url)


class Notes(Silent):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.first = threading.Event()

    def note(self, text: str) -> None:
        self.told.append(text)
        self.first.set()


def test_an_engine_is_built_alone(
    package: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plan = planned(bundle, tmp_path / "plan", "{}")
    notes = Notes()
    build = threading.Thread(target=api.rebuild, args=(plan,), kwargs={"context": Context(observer=notes)})
    with measuring_alone(notes.note):
        build.start()
        assert notes.first.wait(60)
        assert notes.told == ["waiting: another measurement runs on this machine"]
        assert check_files(plan).engine.file == "engine/plan.json"
    build.join()
    assert check_files(plan).engine.file == "engine/engine.onnx"


def test_nothing_is_timed_on_an_emulated_machine(package: Path, bundle: Path, tmp_path: Path) -> None:
    context = Context()
    context.environment = {**context.environment, "emulated": "qemu-aarch64"}  # type: ignore[misc]
    section = api.rebuild(planned(bundle, tmp_path / "plan", "{}"), context=context)
    assert section["latency_ms"] is None and section["throughput_per_s"] is None
    assert "emulated by qemu-aarch64" in section["standing"]
    assert section["precision_detail"] and section["golden_difference"]["same_top1"] == 2
