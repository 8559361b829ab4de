"""Operators with weights: convolutions, products, and the normalisation of the pixels."""

from __future__ import annotations

from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import numpy.typing as npt

from edgetl.backends.litert.graph import Node, Quant, Refusal
from edgetl.backends.litert.layout import flatten_rows, window
from edgetl.backends.litert.lowering import Lowering
from edgetl.backends.litert.windows import activation, padded, per_channel, slide


def _filters(to: Lowering, node: Node, axis: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64] | None]:
    """Weights as they are in ONNX, and in integers the scale of each output, which are on ``axis``."""
    constant = to.constant(node, 1)
    return constant.symmetric(axis) if to.integer else (constant.value, None)


def _bias(to: Lowering, node: Node, outputs: int) -> npt.NDArray[np.float64]:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return np.zeros(outputs)
    return np.broadcast_to(to.constant(node, 2).value.reshape(-1), outputs).astype(np.float64)


def convolution(to: Lowering, node: Node) -> None:
    """``Conv``; an image's grey level off the zero point (see ``Tensor.shift``) goes into the bias."""
    name, groups = node.inputs[0], node.attributes.get("group", 1)
    source, result = to.of(name), to.of(node.output)
    if len(source.shape) != 4:
        raise Refusal(f"convolves {len(source.shape) - 2} dimensions; only images are known")
    filters, along = _filters(to, node, 0)
    bias = _bias(to, node, len(filters))
    if along is not None and source.shift:
        bias += (
            filters.reshape(len(filters), -1).sum(1, np.int64) * along * to.quant(name).scale * source.shift
        )
    if "then" in node.attributes:  # see fusing: a HardSigmoid after it
        slope, offset = node.attributes["then"]
        bias = bias * slope + offset
        along = along * slope if along is not None else None
    depthwise = groups > 1 and groups == source.shape[1]
    where = window(node.attributes, filters.shape[2:], source.shape[2:], result.shape[2:])
    value = padded(to, node, where)
    options: Any = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    slide(options, where)
    options.dilationHFactor, options.dilationWFactor = where.dilation
    options.fusedActivationFunction = activation(node)
    if depthwise:
        options.depthMultiplier = len(filters) // groups
    axis, order = (3, (1, 2, 3, 0)) if depthwise else (0, (0, 2, 3, 1))
    inputs = [value, *to.weighted(node, filters.transpose(order), axis, bias, along, source.quant)]
    operator = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    to.file.operator(operator, inputs, [to.output(node)], options)


def product(to: Lowering, node: Node) -> None:
    """``Gemm``, and ``MatMul`` with constant weights."""
    alpha, beta, *_ = factors = [node.attributes.get(key, 1.0) for key in ("alpha", "beta")]
    if node.attributes.get("transA", 0) or alpha != 1.0 or (len(node.inputs) > 2 and beta != 1.0):
        raise Refusal(f"transA = 1, or alpha and beta of {factors}; only plain products are known")
    source = to.of(node.inputs[0])
    if len(to.constant(node, 1).shape) != 2 or len(source.shape) != 2:
        raise Refusal("a product of other than two matrices")
    transposed = bool(node.attributes.get("transB", 0))
    filters, along = _filters(to, node, 0 if transposed else 1)
    filters = filters if transposed else filters.T
    if image := to.flattened.get(node.inputs[0]):
        filters = flatten_rows(filters, image)
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = activation(node)
    bias = _bias(to, node, len(filters))
    inputs = [to.input(node.inputs[0]), *to.weighted(node, filters, 0, bias, along, source.quant)]
    to.file.operator("FULLY_CONNECTED", inputs, [to.output(node)], options)


def batch_normalization(to: Lowering, node: Node) -> None:
    scale, offset, mean, variance = (
        to.constant(node, index).value.astype(np.float64) for index in range(1, 5)
    )
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    name = node.inputs[0]
    if len(to.of(name).shape) != 4:
        raise Refusal("normalises other than images")
    per_channel(to, node, factor, offset - mean * factor)


def pixels(to: Lowering, node: Node) -> None:
    """The prefix: where the channels are alike a mere reading of the grey levels, else a factor for each."""
    result = to.of(node.output)
    if "mean" not in node.attributes:
        if result.quant is None:
            raise Refusal("uint8 pixels are neither dequantized nor cast to float")
        to.alias(node.output, to.enter(result.quant))
        return
    mean, deviation = (node.attributes[key].astype(np.float64) for key in ("mean", "deviation"))
    zero = round(mean[0] - 128)
    if to.integer and not np.ptp(mean) and not np.ptp(deviation) and -128 <= zero <= 127:
        result.quant, result.shift = Quant(float(np.float32(1 / deviation[0])), zero), zero - (mean[0] - 128)
        to.alias(node.output, to.enter(result.quant))
        return
    levels = Quant(1.0, -128)
    value = to.enter(levels) if to.integer else to.levels()
    channels = to.of(node.output).shape[1]
    factor = np.broadcast_to(1 / deviation, channels)
    per_channel(to, node, factor, -mean * factor, value=value, source=levels)
