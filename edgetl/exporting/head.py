"""The classification head in an ONNX graph: one ``Gemm``, float or INT8; a float one can be taken off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgetl.errors import InputError

NODE = "edgetl/head"
LOGITS = "logits"
_WEIGHT = "edgetl_head_weight"
_BIAS = "edgetl_head_bias"
_FEATURES = "edgetl_head_features"
_PEAK = 127
"""Largest magnitude of a symmetric INT8 number."""

Float32 = npt.NDArray[np.float32]


def add_head(
    backbone: onnx.ModelProto, weight: Float32, bias: Float32, *, feature_range: float | None = None
) -> onnx.ModelProto:
    """``features [N, D] → logits [N, C]`` after a backbone.

    Args:
        weight: float32 ``[C, D]``.
        bias: float32 ``[C]``.
        feature_range: largest absolute feature; given, features and weights are INT8, as TensorRT wants them.

    Raises:
        InputError: if the shapes don't fit, or the range is no positive number.
    """
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    graph = model.graph
    features = graph.output[0]
    shape = features.type.tensor_type.shape.dim
    if len(shape) != 2:
        raise InputError(f"a head needs features [N, D], the backbone gives {len(shape)} dimensions")
    batch, size = shape
    if size.dim_value != weight.shape[1] or bias.shape != (weight.shape[0],):
        raise InputError(f"a head of {list(weight.shape)} does not fit {size.dim_value} features")
    if feature_range is None:
        _add(graph, _WEIGHT, weight)
        operands = [features.name, _WEIGHT]
    else:
        operands = [_quantize_features(graph, feature_range), _quantize_weight(graph, weight)]
    _add(graph, _BIAS, bias)
    graph.node.append(helper.make_node("Gemm", [*operands, _BIAS], [LOGITS], name=NODE, transB=1))
    logits = [batch.dim_value or batch.dim_param or "N", weight.shape[0]]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, logits))
    return model


def _quantize_features(graph: onnx.GraphProto, largest: float) -> str:
    """Q/DQ behind the features, symmetric, with one scale; returns the dequantized tensor's name."""
    name: str = graph.output[0].name
    if any(node.op_type == "DequantizeLinear" and name in node.output for node in graph.node):
        return name
    if not (np.isfinite(largest) and largest > 0):
        raise InputError(f"a quantized head needs the features' range, and {largest} is none")
    scale, zero, integers, back = (f"{_FEATURES}_{part}" for part in ("scale", "zero", "int8", "float"))
    _add(graph, scale, np.asarray(largest / _PEAK, np.float32))
    _add(graph, zero, np.asarray(0, np.int8))
    graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [name, scale, zero], [integers], name=f"{NODE}/quantize"),
            helper.make_node("DequantizeLinear", [integers, scale, zero], [back], name=f"{NODE}/dequantize"),
        ]
    )
    return back


def _quantize_weight(graph: onnx.GraphProto, weight: Float32) -> str:
    """INT8 weights with a scale for each class; returns the dequantized tensor's name."""
    peaks = np.abs(weight).max(axis=1)
    scales = (np.where(peaks > 0, peaks, 1) / _PEAK).astype(np.float32)
    integers, scale, back = (f"{_WEIGHT}_{part}" for part in ("int8", "scale", "float"))
    _add(graph, integers, np.rint(weight / scales[:, None]).clip(-_PEAK, _PEAK).astype(np.int8))
    _add(graph, scale, scales)
    graph.node.append(
        helper.make_node("DequantizeLinear", [integers, scale], [back], name=f"{NODE}/weight", axis=0)
    )
    return back


def _add(graph: onnx.GraphProto, name: str, values: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(values, name))


def has_float_head(model: onnx.ModelProto) -> bool:
    """Whether the model ends in a head whose float weights can be replaced."""
    node = _head(model)
    return node is not None and list(node.input[1:]) == [_WEIGHT, _BIAS]


def remove_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model up to its features.

    Raises:
        InputError: if it has no head of edgetl's.
    """
    node = _require(model)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    size = _tensor(model, _WEIGHT).shape[1]
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    shape = [batch.dim_value or batch.dim_param or "N", size]
    kept = [item for item in graph.node if item.name != NODE]
    del graph.node[:]
    graph.node.extend(kept)
    weights = [tensor for tensor in graph.initializer if tensor.name not in (_WEIGHT, _BIAS)]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    values = [value for value in graph.value_info if value.name != node.input[0]]
    del graph.value_info[:]
    graph.value_info.extend(values)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, shape))
    return bare


def _head(model: onnx.ModelProto) -> onnx.NodeProto | None:
    return next((node for node in model.graph.node if node.name == NODE and node.op_type == "Gemm"), None)


def _require(model: onnx.ModelProto) -> onnx.NodeProto:
    node = _head(model)
    if node is None or not has_float_head(model):
        raise InputError("the model has no float head of edgetl's to work on")
    return node


def _tensor(model: onnx.ModelProto, name: str) -> Float32:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))
