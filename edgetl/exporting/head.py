"""The classification head in an ONNX graph: one ``Gemm``, float or INT8; a float one can be taken off."""

from __future__ import annotations

from dataclasses import dataclass

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
_STEPS = 255
_MAX_BIAS = 2**30
"""Half of what 32 bits hold: the products are added to it."""
_MOVES = ("Flatten", "Reshape", "Squeeze", "Identity")

Float32 = npt.NDArray[np.float32]
Range = tuple[float, float]


@dataclass(frozen=True)
class HeadRanges:
    """What an INT8 head's scales are made of: lowest and highest values over the training images.

    Attributes:
        logits: None for a head whose bias and logits stay in float, as TensorRT wants it; given, all of it
            is integers, activations unsigned with a zero point.
    """

    features: Range
    logits: Range | None = None


def add_head(
    backbone: onnx.ModelProto, weight: Float32, bias: Float32, *, ranges: HeadRanges | None = None
) -> onnx.ModelProto:
    """``features [N, D] → logits [N, C]`` after a backbone.

    Args:
        weight: float32 ``[C, D]``.
        bias: float32 ``[C]``.
        ranges: given, the head is INT8.

    Raises:
        InputError: if the shapes don't fit, or a range is none.
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
    if ranges is None:
        _add(graph, _WEIGHT, weight)
        _add(graph, _BIAS, bias)
        _multiply(graph, features.name, _WEIGHT, _BIAS, LOGITS)
    elif ranges.logits is None:
        _quantize_inputs(graph, weight, bias, ranges.features)
    else:
        _quantize_all(graph, weight, bias, ranges.features, ranges.logits)
    logits = [batch.dim_value or batch.dim_param or "N", weight.shape[0]]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, logits))
    return model


def _multiply(graph: onnx.GraphProto, features: str, weight: str, bias: str, out: str) -> None:
    graph.node.append(helper.make_node("Gemm", [features, weight, bias], [out], name=NODE, transB=1))


def _quantize_inputs(graph: onnx.GraphProto, weight: Float32, bias: Float32, features: Range) -> None:
    """Symmetric features and weights; bias and logits in float."""
    name = graph.output[0].name
    known = _dequantizer(graph, name)
    if known is None or name not in known.output:
        largest = max(map(abs, features))
        _require_range((-largest, largest))
        scale = np.asarray(largest / _PEAK, np.float32)
        name = _round_trip(graph, name, _FEATURES, scale, np.asarray(0, np.int8))
    _add(graph, _BIAS, bias)
    _multiply(graph, name, _quantize_weight(graph, weight, _weight_scales(weight)), _BIAS, LOGITS)


def _quantize_all(
    graph: onnx.GraphProto, weight: Float32, bias: Float32, features: Range, logits: Range
) -> None:
    """Integers all through: the bias has 32 bits, in steps of the products."""
    name = graph.output[0].name
    known = _dequantizer(graph, name)
    scale, zero = _affine(features) if known is None else _parameters(graph, known)
    if known is None or name not in known.output:  # a node that only moves them takes integers too
        name = _round_trip(graph, name, _FEATURES, scale, zero)
    # a bias too large for its integers takes larger steps, its weights with it
    weight_scales = np.maximum(_weight_scales(weight), np.abs(bias) / (_MAX_BIAS * scale)).astype(np.float32)
    steps = (scale * weight_scales).astype(np.float32)
    weights = _quantize_weight(graph, weight, weight_scales)
    integers, step, back = (f"{_BIAS}_{part}" for part in ("int32", "scale", "float"))
    _add(graph, integers, np.rint(bias / steps).astype(np.int32))
    _add(graph, step, steps)
    graph.node.append(
        helper.make_node("DequantizeLinear", [integers, step], [back], name=f"{NODE}/bias", axis=0)
    )
    product = f"{LOGITS}_sum"
    _multiply(graph, name, weights, back, product)
    _round_trip(graph, product, LOGITS, *_affine(logits), back=LOGITS)


def _affine(values: Range) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of unsigned eight bits, zero among the values."""
    _require_range(values)
    low, high = min(values[0], 0.0), max(values[1], 0.0)
    scale = np.asarray((high - low) / _STEPS, np.float32)
    return scale, np.asarray(np.rint(-low / scale), np.uint8)


def _require_range(values: Range) -> None:
    low, high = values
    if not (np.isfinite(low) and np.isfinite(high) and low <= high and (low or high)):
        raise InputError(f"a quantized head needs ranges, and {low:g} to {high:g} is none")


def _dequantizer(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    """The node that turned integers into this tensor, with nothing behind it that computes."""
    for node in reversed(graph.node):
        if name in node.output:
            if node.op_type in _MOVES:
                return _dequantizer(graph, node.input[0])
            return node if node.op_type == "DequantizeLinear" else None
    return None


def _parameters(graph: onnx.GraphProto, dequantizer: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
    """Its scale and zero point."""
    scale, zero = (_initializer(graph, name) for name in dequantizer.input[1:3])
    return scale, zero


def _round_trip(
    graph: onnx.GraphProto,
    name: str,
    prefix: str,
    scale: np.ndarray,
    zero: np.ndarray,
    back: str | None = None,
) -> str:
    """Q/DQ behind a tensor; returns the dequantized tensor's name."""
    step, offset, integers = (f"{prefix}_{part}" for part in ("scale", "zero", "int8"))
    back = back or f"{prefix}_float"
    label = f"{NODE}/{prefix.removeprefix('edgetl_head_')}"
    _add(graph, step, scale)
    _add(graph, offset, zero)
    graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [name, step, offset], [integers], name=f"{label}/quantize"),
            helper.make_node(
                "DequantizeLinear", [integers, step, offset], [back], name=f"{label}/dequantize"
            ),
        ]
    )
    return back


def _weight_scales(weight: Float32) -> Float32:
    """One for each class."""
    peaks = np.abs(weight).max(axis=1)
    return (np.where(peaks > 0, peaks, 1) / _PEAK).astype(np.float32)


def _quantize_weight(graph: onnx.GraphProto, weight: Float32, scales: Float32) -> str:
    """INT8 weights; returns the dequantized tensor's name."""
    integers, scale, back = (f"{_WEIGHT}_{part}" for part in ("int8", "scale", "float"))
    _add(graph, integers, np.rint(weight / scales[:, None]).clip(-_PEAK, _PEAK).astype(np.int8))
    _add(graph, scale, scales)
    graph.node.append(
        helper.make_node("DequantizeLinear", [integers, scale], [back], name=f"{NODE}/weight", axis=0)
    )
    return back


def _initializer(graph: onnx.GraphProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name))


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
    size = _initializer(model.graph, _WEIGHT).shape[1]
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
