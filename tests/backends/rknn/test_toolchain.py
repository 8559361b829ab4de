"""The real toolkit on the small network. Needs ``edgetl toolchain install rknn``."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgetl import profiles
from edgetl.backends.base import Calibration
from edgetl.backends.rknn import RknnBackend
from edgetl.backends.rknn.toolkit import toolkit
from edgetl.conformance.network import Network
from edgetl.engines import engine_spec
from edgetl.errors import BackendError
from edgetl.profiles import Recipe
from edgetl.toolchains import how_to_get, installed

pytestmark = [
    pytest.mark.toolchain("rknn"),
    pytest.mark.skipif(installed("rknn") is None, reason=how_to_get("rknn")),
]
SOCS = ("rk3588", "rk3576", "rk3568", "rk3566", "rk3562", "rv1126b", "rv1106", "rv1103")


@pytest.fixture(scope="module")
def quantized(
    tiny: Network, calibration: Calibration, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("rknn") / "model.onnx"
    RknnBackend().quantize(tiny.model, calibration, recipe, profiles.target("rk3588"), [], out)
    return out


@pytest.mark.parametrize("soc", SOCS)
def test_every_soc_compiles_in_int8(quantized: Path, tmp_path: Path, soc: str) -> None:
    backend, target = RknnBackend(), profiles.target(soc)
    engine = tmp_path / backend.build(quantized, target, tmp_path)
    proof = backend.proof(engine, engine_spec(target, engine.name))
    assert engine.stat().st_size > 1000
    assert proof is not None and proof.precision is not None and proof.estimate is not None
    assert proof.precision.used == "int8" and set(proof.precision.layers) == {"int8"}
    assert proof.estimate["latency_ms"]["value"] > 0


def test_kept_layer_is_float_in_the_engine(
    tiny: Network, calibration: Calibration, recipe: Recipe, tmp_path: Path
) -> None:
    backend, target = RknnBackend(), profiles.target("rk3588")
    model = tmp_path / "hybrid.onnx"
    backend.quantize(tiny.model, calibration, recipe, target, ["conv1"], model)
    engine = tmp_path / backend.build(model, target, tmp_path)
    proof = backend.proof(engine, engine_spec(target, engine.name))
    assert proof is not None and proof.precision is not None
    assert proof.precision.layers["f16"] == len(proof.layers["float"])
    assert [name for name in proof.layers["float"] if name.startswith("Conv:")] == ["Conv:conv1"]


def test_simulator_agrees_with_float(tiny: Network, quantized: Path, batch: np.ndarray) -> None:
    from edgetl.backends.base import EngineSpec
    from edgetl.backends.onnxruntime import OnnxRuntimeBackend

    backend = RknnBackend()
    spec = backend.simulator(engine_spec(profiles.target("rk3588"), "model.rknn"))
    session = backend.load(quantized, spec, throughput=True)
    found: dict[int, np.ndarray] = {}
    session.run_many((image[None] for image in batch), found.__setitem__)
    logits = np.concatenate([found[index] for index in range(len(batch))])
    np.testing.assert_array_equal(logits, session.run(batch))
    reference = EngineSpec("onnxruntime", "model.onnx", "f32", "f32", "CPUExecutionProvider")
    expected = OnnxRuntimeBackend().load(tiny.model, reference).run(batch)
    cosine = (logits * expected).sum() / (np.linalg.norm(logits) * np.linalg.norm(expected))
    assert cosine > 0.999
    assert session.precision().used == "int8"
    assert session.placement().device == "simulator"


def test_supports_asks_the_compiler(tiny: Network, quantized: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    backend = RknnBackend()
    assert backend.supports(tiny.model, profiles.target("rv1103")) == []
    assert backend.supports(quantized, profiles.target("rk3588")) == []
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"], name="where")],
        "one",
        [value("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("y", TensorProto.INT64, [4, None])],
    )
    model = tmp_path / "refused.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), model)
    refused = backend.supports(model, profiles.target("rk3588"))
    assert refused is not None and len(refused) == 1 and "NonZero('where')" in refused[0]


def test_analysis_names_the_layers(tiny: Network, quantized: Path, batch: np.ndarray) -> None:
    found = RknnBackend().analyse(tiny.model, quantized, profiles.target("rk3588"), batch)
    assert len(found["layers"]) > 5
    assert found["twin_cosine"]["value"] > 0.99


@pytest.mark.parametrize("delay", [0.1, 1.0, 2.0])
def test_killed_child_leaves_nothing_half_made(quantized: Path, tmp_path: Path, delay: float) -> None:
    out = tmp_path / "model.rknn"
    with pytest.raises(BackendError, match="was killed") as caught, toolkit() as child:
        pid = child.worker.pid
        threading.Timer(delay, os.kill, (pid, signal.SIGKILL)).start()
        started = time.monotonic()
        while time.monotonic() - started < 60:
            child.build(quantized, "rk3588", out)
            out.unlink()
    assert "\n" not in str(caught.value)
    with toolkit() as child:
        child.build(quantized, "rk3588", out)
    assert out.stat().st_size > 1000


@pytest.mark.parametrize("verb", ["run", "analyse"])
def test_killed_simulator_is_one_line(tiny: Network, quantized: Path, batch: np.ndarray, verb: str) -> None:
    with pytest.raises(BackendError, match=f"was killed.* in '{verb}'") as caught, toolkit() as child:
        child.open(quantized, "rk3588")
        threading.Timer(0.3, os.kill, (child.worker.pid, signal.SIGKILL)).start()
        started = time.monotonic()
        while time.monotonic() - started < 60:
            if verb == "run":
                child.run(batch)
            else:
                child.analyse(tiny.model, quantized, "rk3588", batch)
    assert "\n" not in str(caught.value)
