from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.contract.onnx_prefix import INPUT
from edgetl.errors import InputError
from edgetl.exporting.graph import read
from edgetl.exporting.head import LOGITS, NODE, HeadRanges, add_head, has_float_head, remove_head

WEIGHT = np.random.default_rng(3).normal(size=(5, 16)).astype(np.float32)
BIAS = np.arange(5, dtype=np.float32)
SIX = HeadRanges((-1.0, 6.0))


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """The answers of each node as it is written: no Q/DQ is fused away."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {INPUT: images})[0]


def rounded(values: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """What symmetric INT8 with this scale makes of the values."""
    return np.rint(values / scale).clip(-128, 127) * scale


def test_int8_head_computes_what_it_says(tiny: Any, batch: np.ndarray) -> None:
    backbone = read(tiny.backbone)
    features = run(backbone, batch)
    largest = float(np.abs(features).max()) * 0.9  # a little is clipped
    model = add_head(backbone, WEIGHT, BIAS, ranges=HeadRanges((-largest, largest)))
    onnx.checker.check_model(model, full_check=True)
    weight = rounded(WEIGHT, np.abs(WEIGHT).max(axis=1, keepdims=True) / 127)
    expected = rounded(features, largest / 127) @ weight.T + BIAS
    found = run(model, batch)
    assert np.allclose(found, expected, atol=1e-4)
    assert not np.allclose(found, features @ WEIGHT.T + BIAS, atol=1e-3)  # it was rounded at all


def test_int8_head_is_in_tensorrts_dialect(tiny: Any) -> None:
    model = add_head(read(tiny.backbone), WEIGHT, BIAS, ranges=SIX)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    head = model.graph.node[-1]
    assert head.name == NODE and list(head.output) == [LOGITS]
    features, weight = (made[name] for name in head.input[:2])
    assert features.op_type == weight.op_type == "DequantizeLinear"
    assert constants[head.input[2]].data_type == TensorProto.FLOAT  # the bias
    assert constants[weight.input[0]].data_type == TensorProto.INT8
    assert tuple(constants[weight.input[0]].dims) == (5, 16) and tuple(constants[weight.input[1]].dims) == (
        5,
    )
    assert made[features.input[0]].op_type == "QuantizeLinear"
    scale, zero = (numpy_helper.to_array(constants[name]) for name in features.input[1:])
    assert scale == np.float32(6 / 127) and scale.ndim == 0 and zero == 0 and zero.dtype == np.int8
    assert [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim][1] == 5


def test_int8_head_is_no_float_head(tiny: Any) -> None:
    model = add_head(read(tiny.backbone), WEIGHT, BIAS, ranges=SIX)
    assert not has_float_head(model)
    with pytest.raises(InputError, match="no float head"):
        remove_head(model)


def test_features_that_are_quantized_are_not_quantized_again(tiny: Any, batch: np.ndarray) -> None:
    backbone = read(tiny.backbone)
    graph, name = backbone.graph, backbone.graph.output[0].name
    graph.initializer.append(numpy_helper.from_array(np.float32(0.05), "scale"))
    graph.initializer.append(numpy_helper.from_array(np.int8(0), "zero"))
    graph.node.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], ["q"], name="q"))
    graph.node.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="dq"))
    graph.output[0].name = "dq"
    model = add_head(backbone, WEIGHT, BIAS, ranges=SIX)
    assert [node.op_type for node in model.graph.node].count("QuantizeLinear") == 1
    weight = rounded(WEIGHT, np.abs(WEIGHT).max(axis=1, keepdims=True) / 127)
    assert np.allclose(run(model, batch), run(backbone, batch) @ weight.T + BIAS, atol=1e-4)


def test_a_class_without_weights(tiny: Any, batch: np.ndarray) -> None:
    weight = WEIGHT.copy()
    weight[2] = 0
    found = run(add_head(read(tiny.backbone), weight, BIAS, ranges=SIX), batch)
    assert np.isfinite(found).all() and np.array_equal(found[:, 2], np.full(len(batch), BIAS[2]))


NO_RANGES = [(0.0, 0.0), (0.0, float("nan")), (float("-inf"), 1.0)]


@pytest.mark.parametrize("wrong", NO_RANGES)
def test_a_range_that_is_none(tiny: Any, wrong: tuple[float, float]) -> None:
    for ranges in (HeadRanges(wrong), HeadRanges(wrong, (0.0, 1.0)), HeadRanges((0.0, 1.0), wrong)):
        with pytest.raises(InputError, match="range"):
            add_head(read(tiny.backbone), WEIGHT, BIAS, ranges=ranges)


@pytest.mark.parametrize(("weight", "bias"), [(WEIGHT[:, :8], BIAS), (WEIGHT, BIAS[:3])])
def test_an_int8_head_that_does_not_fit(tiny: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    with pytest.raises(InputError, match="does not fit"):
        add_head(read(tiny.backbone), weight, bias, ranges=SIX)


def affine(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """What unsigned eight bits with a zero point make of the values."""
    scale = np.float32((high - low) / 255)
    zero = np.rint(-low / scale)
    return (np.rint(values / scale + zero).clip(0, 255) - zero) * scale


def test_a_head_all_of_integers_computes_what_it_says(tiny: Any, batch: np.ndarray) -> None:
    backbone = read(tiny.backbone)
    features = run(backbone, batch)
    exact = features @ WEIGHT.T + BIAS
    ranges = HeadRanges((0.0, float(features.max())), (float(exact.min()), float(exact.max())))
    model = add_head(backbone, WEIGHT, BIAS, ranges=ranges)
    onnx.checker.check_model(model, full_check=True)
    weight = rounded(WEIGHT, np.abs(WEIGHT).max(axis=1, keepdims=True) / 127)
    integer_logits = affine(features, *ranges.features) @ weight.T + BIAS
    step = (exact.max() - exact.min()) / 255
    found = run(model, batch)
    assert np.abs(found - affine(integer_logits, *ranges.logits)).max() < 1.01 * step
    assert len(np.unique(np.rint(found / step))) == len(np.unique(found))  # multiples of one step
    products = [node for node in model.graph.node if node.name == NODE]
    made = {name: node for node in model.graph.node for name in node.output}
    assert [made[name].op_type for name in products[0].input] == ["DequantizeLinear"] * 3
    assert model.graph.output[0].name == LOGITS and made[LOGITS].op_type == "DequantizeLinear"
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    assert constants[made[products[0].input[2]].input[0]].data_type == TensorProto.INT32


@pytest.mark.parametrize("moved", [False, True])
def test_integer_features_keep_their_scale(tiny: Any, batch: np.ndarray, moved: bool) -> None:
    backbone = read(tiny.backbone)
    graph, name = backbone.graph, backbone.graph.output[0].name
    graph.initializer.append(numpy_helper.from_array(np.float32(0.05), "scale"))
    graph.initializer.append(numpy_helper.from_array(np.uint8(3), "zero"))
    graph.node.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], ["q"], name="q"))
    graph.node.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="dq"))
    graph.output[0].name = "dq"
    if moved:
        graph.node.append(helper.make_node("Flatten", ["dq"], ["flat"], name="flat"))
        graph.output[0].name = "flat"
    model = add_head(backbone, WEIGHT, BIAS, ranges=HeadRanges((0.0, 9.0), (-40.0, 40.0)))
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantizers) == 2 + moved  # the features', again behind what moves them, the logits'
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in quantizers[:-1]:
        assert constants[node.input[1]] == np.float32(0.05) and constants[node.input[2]] == 3
    weight = rounded(WEIGHT, np.abs(WEIGHT).max(axis=1, keepdims=True) / 127)
    assert np.allclose(run(model, batch), run(backbone, batch) @ weight.T + BIAS, atol=80 / 255)


def test_a_bias_that_32_bits_cannot_hold(tiny: Any, batch: np.ndarray) -> None:
    weight = WEIGHT.copy()
    weight[1] *= 1e-9
    bias = np.array([0, 500, 0, 0, 0], np.float32)
    model = add_head(read(tiny.backbone), weight, bias, ranges=HeadRanges((0.0, 6.0), (-100.0, 600.0)))
    assert np.abs(run(model, batch)[:, 1] - 500).max() <= 700 / 255
