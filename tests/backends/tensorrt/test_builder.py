"""Real engines, built ahead of time for GPUs that are not here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetl.backends.base import Backend, EngineSpec
from edgetl.profiles import Target


def build(rtx: Backend, target: Target, model: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    rtx.prepare(model, target, folder / "model.onnx")
    return folder / rtx.build(folder / "model.onnx", target, folder)


def spec(target: Target) -> EngineSpec:
    return EngineSpec(target.backend, "model.engine", target.precision, target.float_precision, "cuda:0")


@pytest.mark.parametrize("capabilities", [("8.6",), ("8.9",), ("12.0",), ("8.6", "8.9", "12.0")])
def test_int8_is_proved_from_the_layer_report(
    rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path, capabilities: tuple[str, ...]
) -> None:
    target = rtx_target(compute_capabilities=capabilities)
    engine = build(rtx, target, qdq, tmp_path)
    proof = rtx.proof(engine, spec(target))
    assert engine.read_bytes()[:4] == b"vtrt"  # raw: nothing prepended
    assert proof is not None and proof.precision is not None and proof.placement is not None
    assert proof.precision.used == "int8" and dict(proof.precision.layers) == {"int8": 4}
    assert proof.placement.share_of_nodes == 1.0 and all(c in proof.placement.device for c in capabilities)
    assert proof.placement.share_of_time is None  # nothing ran


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_float_engines(
    rtx: Backend, rtx_target: Callable[..., Target], chain: Any, tmp_path: Path, precision: str
) -> None:
    target = rtx_target(precision=precision, float_precision=precision)
    proof = rtx.proof(build(rtx, target, chain.model, tmp_path), spec(target))
    assert proof is not None and proof.precision is not None
    assert proof.precision.used == precision and dict(proof.precision.layers) == {precision: 4}


def test_kept_in_float(
    rtx: Backend,
    rtx_target: Callable[..., Target],
    chain: Any,
    calibration: Any,
    recipe: Any,
    tmp_path: Path,
) -> None:
    """What the recipe excludes is float by wish, and no fault."""
    rtx.quantize(chain.model, calibration, recipe, rtx_target(), ["conv1"], tmp_path / "q.onnx")
    target = rtx_target()
    proof = rtx.proof(build(rtx, target, tmp_path / "q.onnx", tmp_path / "out"), spec(target))
    assert proof is not None and proof.precision is not None
    assert dict(proof.precision.layers) == {"int8": 3, "f16": 1}


def test_building_again_gives_the_same_bytes(
    rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path
) -> None:
    first, second = (build(rtx, rtx_target(), qdq, tmp_path / name) for name in ("a", "b"))
    for name in ("model.engine", "build.json", "layers.json"):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()


def test_what_is_recorded(rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path) -> None:
    engine = build(rtx, rtx_target(), qdq, tmp_path)
    facts = json.loads((tmp_path / "build.json").read_text())
    key = facts["key"]
    assert key["bytes"] == engine.stat().st_size and key["gpu"] is None and key["driver"] is None
    assert key["version"] == rtx.available().versions["tensorrt-rtx"]
    assert facts["seconds"] is None  # would make two builds differ
    assert facts["trtexec"].startswith("tensorrt_rtx --onnx=model.onnx --saveEngine=model.engine")
    assert "--computeCapabilities=86,89,120" in facts["trtexec"]
    assert "--optShapes=images:1x32x32x3" in facts["trtexec"]  # its batch is dynamic


def test_the_simulator_computes_as_the_graph_is_written(
    rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, chain: Any, batch: Any
) -> None:
    import numpy as np

    from edgetl.backends import get_backend

    simulator = rtx.simulator(spec(rtx_target()))
    assert simulator is not None and simulator.backend == "onnxruntime"
    session = get_backend("onnxruntime").load(qdq, simulator)
    exact = get_backend("onnxruntime").load(
        chain.model, EngineSpec("onnxruntime", "x", "f32", "f32", "CPUExecutionProvider")
    )
    simulated, float_ones = session.run(batch), exact.run(batch)
    assert np.corrcoef(simulated.ravel(), float_ones.ravel())[0, 1] > 0.99
    assert not np.allclose(simulated, float_ones, atol=1e-3)  # it does round


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # RTX takes the calls and keeps no timings
def test_timing_cache_is_kept_and_taken_again(
    rtx: Backend, qdq: Path, tmp_path: Path, rtx_target: Callable[..., Target]
) -> None:
    from edgetl.backends.tensorrt.binding import load_binding
    from edgetl.backends.tensorrt.builder import build_engine
    from edgetl.backends.tensorrt.settings import BuildSettings

    cache, settings = tmp_path / "timing" / "kept.cache", BuildSettings.of(rtx_target())
    binding = load_binding("tensorrt-rtx")
    first = build_engine(binding, qdq, settings, cache)
    assert cache.stat().st_size > 0 and [path.name for path in cache.parent.iterdir()] == ["kept.cache"]
    assert build_engine(binding, qdq, settings, cache).engine == first.engine
    cache.write_bytes(b"from another device")
    assert build_engine(binding, qdq, settings, cache).engine == first.engine
