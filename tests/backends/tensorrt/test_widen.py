"""The float32 twin of a half graph: the same answers, rounded where the half graph rounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.backends.tensorrt.casts import prepare, to_half
from edgetl.backends.tensorrt.widen import widen, write_widened
from edgetl.bundling import content_of
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import INPUT
from edgetl.engines import Engine, Standing, build_engine
from edgetl.files import sha256_file
from edgetl.profiles import Target
from edgetl.store import Store
from tests.backends.tensorrt.test_casts import resized

HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


@pytest.fixture(params=["float", "int8"])
def model(request: pytest.FixtureRequest, chain: Any, qdq: Path) -> onnx.ModelProto:
    return onnx.load(chain.model if request.param == "float" else qdq)


def answers(model: onnx.ModelProto, images: np.ndarray, *tensors: str) -> list[np.ndarray]:
    """Of the model's first output, or of the tensors named."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in tensors)
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(tensors) or None, {session.get_inputs()[0].name: images})


def half_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {value.name for value in graph.value_info if value.type.tensor_type.elem_type in HALF}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type in HALF}


def readers(model: onnx.ModelProto, tensor: str) -> list[str]:
    return [node.name for node in model.graph.node if tensor in node.input]


def without_roundings(model: onnx.ModelProto) -> onnx.ModelProto:
    """The twin with nothing instead of its casts."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if node.op_type == "Cast" and (node.name.endswith("/half") or node.input[0].endswith("/half")):
            node.op_type = "Identity"
            del node.attribute[:]
    return plain


def test_float16_answers_are_those_of_the_half_graph(model: onnx.ModelProto, batch: np.ndarray) -> None:
    half = to_half(model, "f16")
    twin = widen(half)
    onnx.checker.check_model(twin, full_check=True)
    assert all(name.endswith("/half") for name in half_tensors(twin))
    assert np.array_equal(answers(twin, batch)[0], answers(half, batch)[0])
    assert twin.metadata_props == half.metadata_props and twin.graph.output == half.graph.output


def test_the_roundings_count(qdq: Path, batch: np.ndarray) -> None:
    """onnxruntime leaves a cast and the cast back in the graph."""
    twin = widen(to_half(onnx.load(qdq), "f16"))
    assert not np.array_equal(answers(twin, batch)[0], answers(without_roundings(twin), batch)[0])


def test_the_half_graph_is_left_alone(qdq: Path) -> None:
    half = to_half(onnx.load(qdq), "f16")
    before = half.SerializeToString(deterministic=True)
    widen(half)
    assert half.SerializeToString(deterministic=True) == before


def test_what_onnxruntime_fuses_stays_together(qdq: Path) -> None:
    """A convolution with its activation; only what is quantized after them is rounded."""
    twin = widen(to_half(onnx.load(qdq), "f16"))
    assert readers(twin, "c0") == ["relu0"]
    assert readers(twin, "r0") == ["r0/rounded/half"]
    assert readers(twin, "r0/rounded") == ["r0_QuantizeLinear"]


def quantizer(scale: float) -> onnx.ModelProto:
    """Float32 numbers in float16, and those in INT8."""
    integers = helper.make_node("QuantizeLinear", ["half", "scale", "zero"], ["y"], name="quantize")
    nodes = [helper.make_node("Cast", ["x"], ["half"], name="narrow", to=TensorProto.FLOAT16), integers]
    constants = [
        numpy_helper.from_array(np.asarray(scale, np.float16), "scale"),
        numpy_helper.from_array(np.zeros((), np.int8), "zero"),
    ]
    x, y = (
        helper.make_tensor_value_info(name, item, ["n"])
        for name, item in (("x", TensorProto.FLOAT), ("y", TensorProto.INT8))
    )
    graph = helper.make_graph(nodes, "quantizer", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("scale", [0.0123, 0.456, 7.0])
def test_every_finite_float16_is_quantized_as_in_the_half_graph(scale: float) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = np.sort(halves[np.isfinite(halves)].astype(np.float32))
    between = (values[1:] + values[:-1]) / 2
    finite = np.concatenate([values, between, np.nextafter(between, np.float32(0))])
    half = quantizer(scale)
    assert np.array_equal(answers(widen(half), finite)[0], answers(half, finite)[0])


def test_beyond_float16_is_the_largest_integer() -> None:
    """As TensorRT saturates; onnxruntime's own float16 kernel gives -128 for infinity."""
    twin = widen(quantizer(0.5))
    assert answers(twin, np.float32([1e6, -1e6, 70000]))[0].tolist() == [127, -128, 127]


RESIDUAL = """
<ir_version: 10, opset_import: ["" : 21]>
residual (float[n, 4, 8, 8] x, float16[4, 4, 3, 3] w, float16 s, int8 z) => (int8[n, 4, 8, 8] y) {
    h = Cast <to = 10> (x)
    c = Conv <pads = [1, 1, 1, 1]> (h, w)
    q = QuantizeLinear (c, s, z)
    d = DequantizeLinear (q, s, z)
    again = QuantizeLinear (c, s, z)
    e = DequantizeLinear (again, s, z)
    f = Conv <pads = [1, 1, 1, 1]> (d, w)
    sum = Add (f, c)
    total = Add (sum, e)
    y = QuantizeLinear (total, s, z)
}
"""


def test_one_tensor_quantized_twice_and_added() -> None:
    """Rounded once for both quantizers; onnxruntime adds what is not rounded."""
    half = onnx.parser.parse_model(RESIDUAL)
    weights = np.random.default_rng(3).normal(0, 0.3, (4, 4, 3, 3)).astype(np.float16)
    values = {"w": weights, "s": np.asarray(0.02, np.float16), "z": np.zeros((), np.int8)}
    half.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    del half.graph.input[1:]
    twin = widen(half)
    assert [node.op_type for node in twin.graph.node].count("Cast") == 1 + 2 * 2
    reading = [node.op_type for node in twin.graph.node if "c" in node.input]
    assert sorted(reading) == ["Add", "Cast"]
    x = np.random.default_rng(4).normal(0, 1, (2, 4, 8, 8)).astype(np.float32)
    assert np.array_equal(answers(twin, x)[0], answers(half, x)[0])


def test_bfloat16_answers_are_near_the_reference(model: onnx.ModelProto, batch: np.ndarray) -> None:
    """ONNX's own implementation, which also sums in bfloat16; onnxruntime can't run the half graph."""
    half = to_half(model, "bf16")
    twin = widen(half)
    onnx.checker.check_model(twin, full_check=True)
    assert all(name.endswith("/half") for name in half_tensors(twin))
    [exact], [found] = answers(model, batch[:2]), answers(twin, batch[:2])
    [reference] = ReferenceEvaluator(half).run(None, {INPUT: batch[:2]})
    assert found.dtype == np.float32 and not np.array_equal(found, exact)
    assert np.abs(found - reference).max() < 0.1 * exact.std()


def test_in_bfloat16_every_result_is_rounded(model: onnx.ModelProto, batch: np.ndarray) -> None:
    """Whatever computes reads bfloat16 numbers, but for those that INT8 stands for."""
    half = to_half(model, "bf16")
    twin = widen(half)
    known = half_tensors(half)
    exact = {node.output[0] for node in twin.graph.node if node.op_type == "DequantizeLinear"}
    computing = [node for node in twin.graph.node if node.op_type in ("Conv", "QuantizeLinear", "Gemm")]
    read = {tensor for node in computing for tensor in node.input if tensor.split("/")[0] in known} - exact
    assert len(read) >= 10
    constants = {item.name: numpy_helper.to_array(item) for item in twin.graph.initializer}
    made = sorted(read - set(constants))
    values = dict(zip(made, answers(twin, batch[:2], *made), strict=True)) | constants
    for name in read:
        value = values[name].astype(np.float32)
        assert np.array_equal(value, value.astype(ml_dtypes.bfloat16).astype(np.float32)), name


def test_constants_in_nodes_and_what_was_float32_already(chain: Any, batch: np.ndarray) -> None:
    model = resized(chain)
    for kind in ("f16", "bf16"):
        half = to_half(model, kind)
        twin = widen(half)
        onnx.checker.check_model(twin, full_check=True)
        assert np.allclose(answers(twin, batch)[0], answers(model, batch)[0], atol=0.3)
        if kind == "f16":
            assert np.array_equal(answers(twin, batch)[0], answers(half, batch)[0])


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def simulation(request: pytest.FixtureRequest) -> Callable[[Path, Path], None]:
    return get_backend(request.param).simulation


def test_simulation_of_a_half_model(
    qdq: Path, tmp_path: Path, simulation: Callable[[Path, Path], None]
) -> None:
    prepare(qdq, "f16", tmp_path / "half.onnx")
    for name in ("a", "b"):
        simulation(tmp_path / "half.onnx", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert onnx.load(tmp_path / "a") == widen(onnx.load(tmp_path / "half.onnx"))


def test_simulation_of_a_float32_model_is_a_copy(
    qdq: Path, tmp_path: Path, simulation: Callable[[Path, Path], None]
) -> None:
    simulation(qdq, tmp_path / "copy.onnx")
    assert (tmp_path / "copy.onnx").read_bytes() == qdq.read_bytes()


def test_the_twin_answers_for_an_engine_that_cannot_be_loaded(
    qdq: Path, tmp_path: Path, rtx_target: Callable[..., Target], batch: np.ndarray
) -> None:
    prepare(qdq, "f16", tmp_path / "model.onnx")
    spec = EngineSpec("tensorrt-rtx", "model.engine", "int8", "f16", "cuda:0")
    nowhere = Standing("simulated", False, "no GPU", loads=False)
    engine = Engine("tiny-rtx", spec, tmp_path, "d", tmp_path / "model.onnx", nowhere)
    portable = engine.answering()
    assert portable.spec.file == "model.onnx" and portable.digest == sha256_file(tmp_path / "model.onnx")
    write_widened(tmp_path / "model.onnx", tmp_path / "simulation.onnx")
    twin = engine.answering()
    assert twin.spec.file == "simulation.onnx" and twin.digest == sha256_file(tmp_path / "simulation.onnx")
    assert np.array_equal(twin.open().run(batch), portable.open().run(batch))


@pytest.mark.parametrize(("precision", "replayed"), [("f16", True), ("bf16", False)])
def test_golden_output_is_one_that_the_bundle_can_give_again(
    qdq: Path,
    rtx: Any,
    tmp_path: Path,
    rtx_target: Callable[..., Target],
    contract: Contract,
    batch: np.ndarray,
    precision: str,
    replayed: bool,
) -> None:
    """From the portable model, for onnxruntime has no bfloat16 convolution, from no file of the bundle."""
    context = Context(Store(tmp_path))
    target = rtx_target(float_precision=precision, compute_capabilities=("8.9",))
    engine = build_engine(context, qdq, target)
    answering = engine.answering()
    assert not engine.standing.loads and answering.spec.file == "simulation.onnx"
    content = content_of(
        context, engine, contract, ("a", "b", "c"), batch[:2], provenance={}, measurements={}
    )
    twin = np.concatenate([answering.open().run(image[None]) for image in batch[:2]])
    assert np.array_equal(content.golden_output, twin)
    assert (content.simulator is not None) is replayed and content.portable == engine.portable
    assert content.simulator is None or content.simulator.file == "model.onnx"
