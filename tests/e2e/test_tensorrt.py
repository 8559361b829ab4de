"""The story with TensorRT targets: an RTX engine built here, and a build plan for a Jetson."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.e2e.driving import QUICK, Command, Run

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (extra tensorrt-rtx)")
SCHEMA = json.loads(resources.files("edgetl").joinpath("schemas/results.schema.json").read_text())
RTX, JETSON = "rtx-40", "jetson-orin-nano"


@pytest.fixture(scope="module")
def run(shapes: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("tensorrt")
    done = command("run", shapes, "-t", RTX, "-t", JETSON, *QUICK, "-o", out)
    return Run(out, json.loads((out / "results.json").read_text()), done)


@pytest.fixture
def engines(run: Run) -> dict[str, dict[str, Any]]:
    return {engine["target"]: engine for engine in run.results["engines"]}


def test_what_is_measured_simulated_and_neither(run: Run, engines: dict[str, dict[str, Any]]) -> None:
    jsonschema.validate(run.results, SCHEMA)
    for engine in engines.values():
        assert engine["error"] is None
        for name in ("accuracy", "drop_points", "agreement"):
            assert engine[name]["kind"] == "simulated" and engine[name]["n"] == 24
        assert {found["kind"] for found in engine["refit"].values()} == {"simulated"}
        assert engine["latency_ms"] is None and engine["throughput_per_s"] is None
        assert "GPU" in engine["standing"]
    [reference] = run.results["fp32"]["engines"]
    assert reference["backend"] == "onnxruntime" and reference["accuracy"]["kind"] == "measured"


def test_rtx_engine_is_proved(run: Run, engines: dict[str, dict[str, Any]]) -> None:
    engine = engines[RTX]
    assert engine["state"] == "built" and engine["precision"] == "int8"
    assert engine["precision_detail"]["executed"] == {"int8": 50}  # 49 convolutions and the head
    assert engine["placement"]["share_of_nodes"] == 1.0 and engine["placement"]["share_of_time"] is None
    assert (run.bundle(RTX) / "engine/model.engine").read_bytes()[:4] == b"vtrt"
    assert engine["size_bytes"] == (run.bundle(RTX) / "engine/model.engine").stat().st_size


def test_jetson_gets_a_plan(run: Run, engines: dict[str, dict[str, Any]]) -> None:
    engine = engines[JETSON]
    assert engine["state"] == "plan" and engine["size_bytes"] is None and engine["placement"] is None
    plan = json.loads((run.bundle(JETSON) / "engine/plan.json").read_text())
    assert len(plan["demands"]["int8"]) == len(plan["demands"]["nodes"]) == 50
    assert plan["trtexec"].startswith("trtexec --onnx=") and "--stronglyTyped" in plan["trtexec"]
    assert plan["needs_mb"]["kind"] == "estimated" and plan["settings"]["workspace_mb"]
    assert any("ONNX parser of TensorRT for RTX" in check for check in plan["checks"])


def test_summary_and_report_tell_them_apart(run: Run) -> None:
    page, said = (run.out / "report.html").read_text(), run.process.stdout
    assert "simulated" in said and "not measured" in said and "plan" in said
    assert "simulated" in page and "edgetl build BUNDLE" in page and "tensorrt_rtx --onnx" in page


def test_bundles_verify_by_their_simulator(run: Run, command: Command) -> None:
    for target in (RTX, JETSON):
        done = command("verify", run.bundle(target))
        assert "all digests match" in done.stdout
        assert "note: simulated, portable/model.onnx was replayed: " in done.stdout


@pytest.mark.parametrize("verb", ["bench", "predict"])
def test_what_cannot_run_here_says_so(run: Run, command: Command, shapes: Path, verb: str) -> None:
    picture = next(shapes.rglob("*.png"))
    for target, reason in ((RTX, "no NVIDIA GPU or driver here"), (JETSON, "edgetl build BUNDLE")):
        arguments = (verb, run.bundle(target), *([picture] if verb == "predict" else []))
        done = command(*arguments, check=False)
        assert done.returncode != 0 and reason in done.stderr and done.stderr.count("\n") == 1


def test_building_a_plan_needs_the_board(run: Run, command: Command) -> None:
    done = command("build", run.bundle(JETSON), check=False)
    assert done.returncode != 0 and "JetPack" in done.stderr
    assert (run.bundle(JETSON) / "engine/plan.json").exists()


def test_a_second_run_gives_the_same_bundles(
    run: Run, shapes: Path, command: Command, tmp_path: Path
) -> None:
    command("run", shapes, "-t", RTX, "-t", JETSON, *QUICK, "-o", tmp_path)
    for target in (RTX, JETSON):
        one, two = (
            json.loads((root / "bundles" / target / "manifest.json").read_text())
            for root in (run.out, tmp_path)
        )
        assert one["files"] == two["files"]


def test_step_by_step(run: Run, command: Command, tmp_path: Path) -> None:
    """From the portable model: several targets at once, and float engines on purpose."""
    portable = run.bundle(RTX) / "portable/model.onnx"
    done = command("build", portable, "-t", "rtx-30", "-t", "rtx-50", "-o", tmp_path / "both")
    for target, capability in (("rtx-30", "86"), ("rtx-50", "120")):
        assert f"--computeCapabilities={capability}" in done.stdout
        assert (tmp_path / "both" / target / "engine/model.engine").is_file()
    refused = command("build", portable, "-t", RTX, "--precision", "f16", "-o", tmp_path / "f", check=False)
    assert refused.returncode == 2 and "quantized" in refused.stderr


def test_a_model_quantized_for_another_target_is_refused(run: Run, command: Command, tmp_path: Path) -> None:
    """onnxruntime's own INT8 kernels take no symmetric Q/DQ with float biases: it would run in float."""
    portable = run.bundle(RTX) / "portable/model.onnx"
    done = command("build", portable, "-t", "x86-onnxruntime", "-o", tmp_path / "b", check=False)
    assert done.returncode == 1 and "computes mostly in" in done.stderr and "edgetl quantize" in done.stderr
    assert not (tmp_path / "b").exists()


def test_gates_say_what_they_judged_on(run: Run, shapes: Path, command: Command, tmp_path: Path) -> None:
    budgets = ("--max-drop", 90, "--max-latency", 5)
    done = command("run", shapes, "-t", RTX, "--recipe", "quick", *budgets, "-o", tmp_path, check=False)
    [engine] = json.loads((tmp_path / "results.json").read_text())["engines"]
    assert done.returncode == 1 and engine["gate"] == "undecided"
    assert any("simulated, not measured" in reason for reason in engine["gate_reasons"])
    assert any("latency was not measured" in reason for reason in engine["gate_reasons"])


@pytest.mark.parametrize("extra", [("-t", RTX), ("--precision", "f16")])
def test_a_bundle_has_its_target(run: Run, command: Command, extra: tuple[str, str], shapes: Path) -> None:
    assert command("build", run.bundle(JETSON), *extra, check=False).returncode == 2
    refused = command("build", shapes, *extra, check=False)
    assert refused.returncode == 2 and "no bundle" in refused.stderr


def test_an_altered_plan_is_refused(run: Run, command: Command, tmp_path: Path) -> None:
    bundle = shutil.copytree(run.bundle(JETSON), tmp_path / "bundle")
    plan = bundle / "engine/plan.json"
    plan.write_text(plan.read_text().replace('"workspace_mb": 1024', '"workspace_mb": 9999'))
    done = command("build", bundle, check=False)
    assert done.returncode != 0 and "altered" in done.stderr


def test_the_board_builds_what_was_planned(
    run: Run, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of ``edgetl build BUNDLE``, with RTX's builder in the board's place.

    The engine that comes out is real; having no GPU to load it, the simulator answers for it.
    """
    from edgetl import api
    from edgetl.backends import get_backend, tensorrt
    from edgetl.backends.base import Availability
    from edgetl.backends.tensorrt import binding
    from edgetl.context import Context
    from edgetl.store import Store

    rtx = binding.load_binding("tensorrt-rtx")
    monkeypatch.setattr(tensorrt, "load_binding", lambda name: rtx)
    monkeypatch.setattr(
        tensorrt.TensorRtBackend, "available", lambda self: Availability(True, {"tensorrt": rtx.version})
    )

    def load(self: Any, engine: Path, spec: Any, *, throughput: bool = False) -> Any:
        assert engine.read_bytes()[:4] == b"vtrt"
        simulator = self.simulator(spec)
        model = run.bundle(JETSON) / "portable/model.onnx"
        return get_backend(simulator.backend).load(model, simulator, throughput=throughput)

    monkeypatch.setattr(tensorrt.TensorRtBackend, "load", load)
    for absent in ("torch", "onnx", "timm", "nncf", "sklearn"):  # the board has none of these
        monkeypatch.setitem(sys.modules, absent, None)
    plan = json.loads((run.bundle(JETSON) / "engine/plan.json").read_text())
    bundle = _for_capability(run.bundle(JETSON), tmp_path / "bundle", "8.9", plan)
    facts = api.rebuild(bundle, tmp_path / "built", context=Context(Store(tmp_path / "store")))
    assert facts["golden_difference"]["same_top1"] == facts["golden_difference"]["n"] == 4
    assert facts["latency_ms"]["p50"]["value"] > 0
    manifest = json.loads((tmp_path / "built/manifest.json").read_text())
    assert manifest["engine"]["file"] == "engine/model.engine" and manifest["simulator"] is None
    key = json.loads((tmp_path / "built/engine/build.json").read_text())["key"]
    assert key["version"] == rtx.version


def _for_capability(source: Path, copy: Path, capability: str, plan: dict[str, Any]) -> Path:
    """The bundle with a plan for another GPU, sealed again."""
    from dataclasses import replace

    from edgetl.bundle.manifest import read_manifest
    from edgetl.files import sha256_file

    shutil.copytree(source, copy)
    plan["settings"]["compute_capabilities"] = [capability]
    file = copy / "engine/plan.json"
    file.write_text(json.dumps(plan))
    manifest = read_manifest(copy)
    facts = {"sha256": sha256_file(file), "bytes": file.stat().st_size}
    sealed = replace(manifest, files={**manifest.files, "engine/plan.json": facts})
    (copy / "manifest.json").write_text(sealed.to_json())
    return copy


@pytest.mark.parametrize("found", ["8.9", "8.6"])
def test_standing_depends_on_the_gpu(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetl import profiles
    from edgetl.backends import tensorrt
    from edgetl.device.environment import environment
    from edgetl.engines import standing

    gpu = {"name": "NVIDIA GeForce RTX 4090", "compute_capability": found, "driver": "13.0"}
    monkeypatch.setattr(tensorrt, "_gpus", lambda: [gpu])
    facts: Callable[[dict[str, Any]], dict[str, Any]] = lambda gpu: {**environment(), "gpus": [gpu]}  # noqa: E731
    here = standing(profiles.target(RTX), facts(gpu))
    assert here.loads is (found == "8.9") and here.latency is (found == "8.9")
    other = standing(profiles.target(RTX), facts({**gpu, "name": "NVIDIA L4"}))
    assert not other.latency
