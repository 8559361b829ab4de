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
from edgetl.exporting.head import LOGITS, NODE, add_head, has_float_head, remove_head

WEIGHT = np.random.default_rng(3).normal(size=(5, 16)).astype(np.float32)
BIAS = np.arange(5, dtype=np.float32)


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
    model = add_head(backbone, WEIGHT, BIAS, feature_range=largest)
    onnx.checker.check_model(model, full_check=True)
    weight = rounded(WEIGHT, np.abs(WEIGHT).max(axis=1, keepdims=True) / 127)
    expected = rounded(features, largest / 127) @ weight.T + BIAS
    found = run(model, batch)
    assert np.allclose(found, expected, atol=1e-4)
    assert not np.allclose(found, features @ WEIGHT.T + BIAS, atol=1e-3)  # it was rounded at all


def test_int8_head_is_in_tensorrts_dialect(tiny: Any) -> None:
    model = add_head(read(tiny.backbone), WEIGHT, BIAS, feature_range=6.0)
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
    model = add_head(read(tiny.backbone), WEIGHT, BIAS, feature_range=6.0)
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
    model = add_head(backbone, WEIGHT, BIAS, feature_range=6.0)
    assert [node.op_type for node in model.graph.node].count("QuantizeLinear") == 1
    weight = rounded(WEIGHT, np.abs(WEIGHT).max(axis=1, keepdims=True) / 127)
    assert np.allclose(run(model, batch), run(backbone, batch) @ weight.T + BIAS, atol=1e-4)


def test_a_class_without_weights(tiny: Any, batch: np.ndarray) -> None:
    weight = WEIGHT.copy()
    weight[2] = 0
    found = run(add_head(read(tiny.backbone), weight, BIAS, feature_range=6.0), batch)
    assert np.isfinite(found).all() and np.array_equal(found[:, 2], np.full(len(batch), BIAS[2]))


@pytest.mark.parametrize("largest", [0.0, -1.0, float("nan"), float("inf")])
def test_a_range_that_is_none(tiny: Any, largest: float) -> None:
    with pytest.raises(InputError, match="range"):
        add_head(read(tiny.backbone), WEIGHT, BIAS, feature_range=largest)


@pytest.mark.parametrize(("weight", "bias"), [(WEIGHT[:, :8], BIAS), (WEIGHT, BIAS[:3])])
def test_an_int8_head_that_does_not_fit(tiny: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    with pytest.raises(InputError, match="does not fit"):
        add_head(read(tiny.backbone), weight, bias, feature_range=6.0)
