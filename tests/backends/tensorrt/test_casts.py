"""Half precision by types in the ONNX: where it is, where it is not, and that the answers stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgetl.backends.tensorrt.casts import Kind, prepare, to_half
from edgetl.backends.tensorrt.dialect import check, opset
from edgetl.contract.onnx_prefix import INPUT
from edgetl.errors import BackendError, InputError

PREFIX = {"edgetl/cast", "edgetl/layout", "edgetl/mean", "edgetl/std"}
TYPES = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@pytest.fixture(params=["f16", "bf16"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(params=["float", "int8"])
def model(request: pytest.FixtureRequest, chain: Any, qdq: Path) -> onnx.ModelProto:
    return onnx.load(chain.model if request.param == "float" else qdq)


def answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {INPUT: images})[0]


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor, inferred."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    inferred = {value.name: value.type.tensor_type.elem_type for value in values}
    return inferred | {tensor.name: tensor.data_type for tensor in graph.initializer}


def constant(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def put(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    constant(model, name).CopyFrom(numpy_helper.from_array(values, name))


def test_only_the_prefix_and_the_logits_are_float32(model: onnx.ModelProto, kind: Kind) -> None:
    half = to_half(model, kind)
    onnx.checker.check_model(half, full_check=True)
    found = types(half)
    prefix = [node for node in half.graph.node if node.name in PREFIX]
    single = {name for node in prefix for name in (*node.input, *node.output)} - {INPUT}
    assert {name for name, item in found.items() if item == TensorProto.FLOAT} == {*single, "logits"}
    casts = [node.name for node in half.graph.node if node.op_type == "Cast"]
    assert casts == ["edgetl/cast", "edgetl/std/half", "edgetl/logits"]
    others = {item for item in found.values() if item not in (TensorProto.FLOAT, TensorProto.UINT8)}
    integers = (
        {TensorProto.INT8} if check(model) == [] and TensorProto.INT8 in types(model).values() else set()
    )
    assert others == {TYPES[kind], *integers}


def test_what_is_not_float_stays(model: onnx.ModelProto, kind: Kind) -> None:
    half = to_half(model, kind)
    assert half.metadata_props == model.metadata_props and half.graph.input == model.graph.input
    assert half.graph.output == model.graph.output and check(half) == []
    integers = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8]
    assert [t for t in half.graph.initializer if t.data_type == TensorProto.INT8] == integers
    kept = [node.name for node in half.graph.node if node.op_type != "Cast"]
    assert kept == [node.name for node in model.graph.node if node.op_type != "Cast"]


def test_answers_stay_in_float16(model: onnx.ModelProto, batch: np.ndarray) -> None:
    exact, found = answers(model, batch), answers(to_half(model, "f16"), batch)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.02 * exact.std()


def test_answers_stay_in_bfloat16(chain: Any, batch: np.ndarray) -> None:
    """By ONNX's own reference implementation; onnxruntime's CPU provider has no bfloat16 convolution."""
    model = onnx.load(chain.model)
    exact = answers(model, batch[:2])
    found = ReferenceEvaluator(to_half(model, "bf16")).run(None, {INPUT: batch[:2]})[0]
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.1 * exact.std()


def test_bfloat16_is_rounded_to_the_nearest_and_ties_to_even(chain: Any) -> None:
    model = onnx.load(chain.model)
    values = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-16, 3.3895e38, 0, -2.5e-39, 1e30] * 2)
    put(model, "b2", values)
    found = numpy_helper.to_array(constant(to_half(model, "bf16"), "b2")).astype(np.float32)
    expected = values.astype(numpy_helper.to_array(constant(to_half(model, "bf16"), "b2")).dtype)
    assert np.array_equal(found, expected.astype(np.float32))
    assert found[1] == 1 and found[2] == np.float32(1 + 2**-6) and found[3] == np.float32(-1 - 2**-7)


def test_opset_goes_up_only_where_it_must(chain: Any, qdq: Path) -> None:
    plain, quantized = onnx.load(chain.model), onnx.load(qdq)
    assert opset(plain) == opset(quantized) == 17
    assert opset(to_half(plain, "f16")) == 17
    assert opset(to_half(quantized, "f16")) == 19
    assert opset(to_half(plain, "bf16")) == opset(to_half(quantized, "bf16")) == 22


def test_a_model_that_has_no_such_opset(chain: Any) -> None:
    model = onnx.load(chain.model)
    model.graph.node.append(helper.make_node("Unheard", ["logits"], ["more"], name="unheard"))
    with pytest.raises(InputError, match="opset 22") as caught:
        to_half(model, "bf16")
    assert "\n" not in str(caught.value) and "f32" in str(caught.value)


def test_the_source_is_not_touched(model: onnx.ModelProto, kind: Kind) -> None:
    before = model.SerializeToString(deterministic=True)
    to_half(model, kind)
    assert model.SerializeToString(deterministic=True) == before


def test_a_weight_that_float16_does_not_hold(chain: Any) -> None:
    model = onnx.load(chain.model)
    weights = numpy_helper.to_array(constant(model, "w1")).copy()
    weights.flat[7] = -70000
    put(model, "w1", weights)
    with pytest.raises(BackendError, match=r"'w1' reaches 70000.*65504.*bf16") as caught:
        to_half(model, "f16")
    assert "\n" not in str(caught.value)
    onnx.checker.check_model(to_half(model, "bf16"), full_check=True)


def test_infinity_is_no_overflow(chain: Any) -> None:
    """Masks hold it, and float16 has it."""
    model = onnx.load(chain.model)
    put(model, "b1", np.full(16, -np.inf, np.float32))
    assert np.isneginf(numpy_helper.to_array(constant(to_half(model, "f16"), "b1"))).all()


def test_activations_that_float16_does_not_hold(qdq: Path) -> None:
    model = onnx.load(qdq)
    put(model, "r0_scale", np.float32(600))  # up to 127 times as much
    with pytest.raises(BackendError, match=r"'r0_scale' reaches 76200"):
        to_half(model, "f16")
    to_half(model, "bf16")


def test_scales_that_float16_does_not_hold_are_made_to_fit(qdq: Path, batch: np.ndarray) -> None:
    """A channel that is all but dead, as folded batch norms leave them, has a scale that would become 0."""
    model = onnx.load(qdq)
    scales = numpy_helper.to_array(constant(model, "w1_scale")).copy()
    scales[:4] = [1e-6, 5e-8, 1e-10, 2e-5]
    put(model, "w1_scale", scales)
    half = to_half(model, "f16")
    fitted = numpy_helper.to_array(constant(half, "w1_scale"))
    assert fitted.dtype == np.float16 and (fitted > 0).all()
    before, after = (
        numpy_helper.to_array(constant(item, "w1_quantized")).astype(np.float64) for item in (model, half)
    )
    assert np.array_equal(before[4:], after[4:])
    exact, found = (
        weights * scale.astype(np.float64)[:, None, None, None]
        for weights, scale in ((before, scales), (after, fitted))
    )
    step = fitted.astype(np.float64)[:, None, None, None]
    assert (np.abs(found - exact)[:4] <= step[:4] / 2).all()
    assert np.abs(found - exact)[0].max() <= 0.005 * np.abs(exact)[0].max()
    assert check(half) == [] and np.allclose(answers(half, batch), answers(model, batch), atol=0.05)


def test_a_dead_activation_gets_a_scale_that_is_one(qdq: Path) -> None:
    model = onnx.load(qdq)
    put(model, "r0_scale", np.float32(1e-12))
    assert numpy_helper.to_array(constant(to_half(model, "f16"), "r0_scale")) == np.float16(2.0**-24)


def test_one_scale_for_all_channels(qdq: Path) -> None:
    model = onnx.load(qdq)
    node = next(node for node in model.graph.node if node.name == "w1_DequantizeLinear")
    del node.attribute[:]
    put(model, "w1_scale", np.float32(1e-6))
    put(model, "w1_zero_point", np.int8(0))
    half = to_half(model, "f16")
    weights, scale = (numpy_helper.to_array(constant(half, name)) for name in ("w1_quantized", "w1_scale"))
    exact = numpy_helper.to_array(constant(model, "w1_quantized")) * np.float64(1e-6)
    assert np.abs(weights * scale.astype(np.float64) - exact).max() <= float(scale) / 2


def resized(chain: Any, extra: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    """The chain with its first feature map doubled, and its bias in a Constant node."""
    model = onnx.load(chain.model)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, 2, 2]), "scales"))
    resize = helper.make_node("Resize", ["r0", "", "scales"], ["doubled"], name="resize", mode="nearest")
    bias = constant(model, "b1")
    move = helper.make_node("Constant", [], ["moved"], name="constant", value=bias)
    conv = next(node for node in graph.node if node.name == "conv1")
    at = list(graph.node).index(conv)
    conv.input[0], conv.input[2] = "doubled", "moved"
    graph.node.insert(at, resize)
    graph.node.insert(at, move)
    graph.initializer.remove(bias)
    del graph.value_info[:]
    return model


def test_inputs_that_onnx_has_in_float32_only(chain: Any, batch: np.ndarray, kind: Kind) -> None:
    model = resized(chain)
    half = to_half(model, kind)
    onnx.checker.check_model(half, full_check=True)
    assert constant(half, "scales").data_type == TensorProto.FLOAT
    assert types(half)["moved"] == types(half)["doubled"] == TYPES[kind]
    if kind == "f16":
        assert np.allclose(answers(half, batch), answers(model, batch), atol=0.05)


def test_a_graph_within_the_graph_is_refused(chain: Any) -> None:
    model = onnx.load(chain.model)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["r0"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    branches = {"then_branch": branch, "else_branch": branch}
    model.graph.node.append(helper.make_node("If", ["yes"], ["out"], name="choice", **branches))
    with pytest.raises(InputError, match="If 'choice'"):
        to_half(model, "f16")


@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_float32_is_a_copy(qdq: Path, tmp_path: Path, precision: str) -> None:
    prepare(qdq, precision, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == qdq.read_bytes()


def test_preparing_again_gives_the_same_bytes(qdq: Path, tmp_path: Path, kind: Kind) -> None:
    for name in ("a", "b"):
        prepare(qdq, kind, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != qdq.read_bytes()


def test_a_precision_there_is_not(qdq: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'f8'"):
        prepare(qdq, "f8", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_a_model_that_is_half_already(chain: Any, tmp_path: Path) -> None:
    """As a bundle's portable model is: it stays as it is, and can't be had in another precision."""
    prepare(chain.model, "f16", tmp_path / "f16.onnx")
    prepare(tmp_path / "f16.onnx", "f16", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "f16.onnx").read_bytes()
    for other in ("f32", "bf16"):
        with pytest.raises(InputError, match=r"is f16, .* is asked for"):
            prepare(tmp_path / "f16.onnx", other, tmp_path / "no.onnx")
