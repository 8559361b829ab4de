"""One function an ONNX operator: what it becomes in TFLite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from edgetl.backends.litert.fusing import PIXELS, RANGE_ONE, clip_limits, fused_activation, hard_sigmoid
from edgetl.backends.litert.graph import Node, Quant, Refusal
from edgetl.backends.litert.layout import axis_nhwc, nhwc
from edgetl.backends.litert.lowering import Lowering
from edgetl.backends.litert.weighted import batch_normalization, convolution, pixels, product
from edgetl.backends.litert.windows import activation, average_pool, max_pool, per_channel

_UNIT = Quant(1 / 256, -128)
"""The scale that TFLite fixes for what lies between 0 and 1."""


def elementwise(to: Lowering, node: Node) -> None:
    """``Add``, ``Sub`` and ``Mul``; a constant a channel becomes weights, which have a scale each."""
    rank = len(to.of(node.output).shape)
    first, second = node.inputs
    if first in to.graph.constants and node.operator != "Sub":
        first, second = second, first
    if rank == 4 and second in to.graph.constants and _channels(to, node, first, second):
        return
    operands = [to.beside(name, node, rank) for name in (first, second)]
    for name in to.graph.activations(node):
        if len(to.of(name).shape) != rank:
            raise Refusal("operands of different numbers of dimensions")
    options = getattr(schema, f"{node.operator.title()}OptionsT")()
    options.fusedActivationFunction = activation(node)
    to.file.operator(node.operator.upper(), operands, [to.output(node)], options)


def _channels(to: Lowering, node: Node, name: str, constant: str) -> bool:
    """Write an operator with one constant a channel as a factor and an offset; whether it is one."""
    value = to.graph.constants[constant].value
    channels = to.of(node.output).shape[1]
    shape = (1,) * (4 - value.ndim) + value.shape
    if value.size != channels or shape[1] != channels or to.of(name).shape != to.of(node.output).shape:
        return False
    flat, ones, zeros = value.reshape(-1), np.ones(channels), np.zeros(channels)
    pair = {"Mul": (flat, zeros), "Add": (ones, flat), "Sub": (ones, -flat)}[node.operator]
    per_channel(to, node, *pair, value=to.input(name), source=to.of(name).quant)
    return True


def clip(to: Lowering, node: Node) -> None:
    """A ``Relu`` or ``Clip`` that no operator before it could do."""
    limits = clip_limits(to.graph, node)
    if limits is None:
        raise Refusal("its limits are computed in the graph")
    source, result = to.of(node.inputs[0]), to.of(node.output)
    name = fused_activation(limits, result.quant if to.integer else None)
    value = to.input(node.inputs[0])
    if name == "NONE":  # the range of the result's integers clips
        requantize(to, node)
    elif name is not None:
        to.file.operator(name, [value], [to.output(node)])
    else:
        _clip_between(to, node, value, limits, source.quant)


def _clip_between(
    to: Lowering, node: Node, value: int, limits: tuple[float, float], source: Quant | None
) -> None:
    """Limits that TFLite has no operator of its own for; the result has the scale of the input."""
    steps = [
        (operator, limit)
        for operator, limit in zip(("MAXIMUM", "MINIMUM"), limits, strict=True)
        if math.isfinite(limit)
    ]
    shape = nhwc(to.of(node.output).shape)
    for index, (operator, limit) in enumerate(steps):
        last = index == len(steps) - 1
        quant = source if to.integer else None
        made = to.output(node, source) if last else to.intermediate(node, operator.lower(), shape, quant)
        bound = to.number(node, f"{operator.lower()}/limit", limit, quant)
        to.file.operator(operator, [value, bound], [made], schema.MaximumMinimumOptionsT())
        value = made


def requantize(to: Lowering, node: Node) -> None:
    """The same numbers with the scale and zero point of the result."""
    to.file.operator("QUANTIZE", [to.input(node.inputs[0])], [to.output(node)], schema.QuantizeOptionsT())


def sigmoid(to: Lowering, node: Node) -> None:
    to.file.operator("LOGISTIC", [to.input(node.inputs[0])], [to.output(node, _UNIT)])


def softmax(to: Lowering, node: Node) -> None:
    rank = len(to.of(node.output).shape)
    if rank != 2 or node.attributes.get("axis", -1) % rank != 1:
        raise Refusal("a softmax over other than the classes")
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    to.file.operator("SOFTMAX", [to.input(node.inputs[0])], [to.output(node, _UNIT)], options)


def hard_swish(to: Lowering, node: Node) -> None:
    """``HardSwish``; in integers on a CPU as ``x * gate(x)``: XNNPACK has no HARD_SWISH of integers."""
    result = to.of(node.output)
    value = to.input(node.inputs[0])
    if to.integer and to.pixels and len(result.shape) == 4:
        channels = np.ones(result.shape[1])
        opened = to.intermediate(node, "gate", nhwc(result.shape), RANGE_ONE)
        per_channel(to, node, channels / 6, channels / 2, out=opened)
        to.file.operator("MUL", [value, opened], [to.output(node)], schema.MulOptionsT())
    else:
        to.file.operator("HARD_SWISH", [value], [to.output(node)], schema.HardSwishOptionsT())


def gate(to: Lowering, node: Node) -> None:
    """A ``HardSigmoid`` that no convolution could take over: a factor and an offset; the range clips."""
    result = to.of(node.output)
    if len(result.shape) != 4:
        raise Refusal("a hard sigmoid of other than images")
    slope, offset = hard_sigmoid(node)
    channels = np.ones(result.shape[1])
    if to.integer:
        result.quant = RANGE_ONE
        per_channel(to, node, slope * channels, offset * channels)
        return
    clipped = to.intermediate(node, "clipped", nhwc(result.shape), None)
    node.activation = "RELU6"
    per_channel(to, node, 6 * slope * channels, 6 * offset * channels, out=clipped)
    sixth = to.number(node, "sixth", 1 / 6, None)
    to.file.operator("MUL", [clipped, sixth], [to.output(node)], schema.MulOptionsT())


def mean(to: Lowering, node: Node) -> None:
    """``ReduceMean`` over height and width, and ``GlobalAveragePool``."""
    rank = len(to.of(node.inputs[0]).shape)
    axes = [axis_nhwc(axis, rank) for axis in _axes(to, node)]
    if rank != 4 or sorted(axes) != [1, 2]:
        raise Refusal("a mean over other than height and width")
    options = schema.ReducerOptionsT()
    options.keepDims = bool(node.attributes.get("keepdims", 1))
    inputs = [to.input(node.inputs[0]), to.numbers(node, "axes", sorted(axes))]
    to.file.operator("MEAN", inputs, [to.output(node)], options)


def _axes(to: Lowering, node: Node) -> list[int]:
    if node.operator == "GlobalAveragePool":
        return [2, 3]
    if len(node.inputs) > 1 and node.inputs[1]:
        return [int(axis) for axis in to.constant(node, 1).value]
    return list(node.attributes.get("axes", ()))


def reshape(to: Lowering, node: Node) -> None:
    """``Reshape`` and ``Flatten`` of an image to a row, in the order of TFLite's own layout if only products
    read it, whose weights can follow."""
    name = node.inputs[0]
    source, result = to.of(name), to.of(node.output)
    before, after = source.shape, result.shape
    if before[0] != after[0] or (len(before) == 4 and len(after) == 4 and before != after):
        raise Refusal(f"reshapes {list(before)} to {list(after)}; only an image to a row is known")
    value = to.input(name)
    if len(before) == 4 and len(after) == 2 and before[2] * before[3] > 1:
        users = [user for user in to.graph.nodes if node.output in user.inputs]
        if users and all(user.operator in ("Gemm", "MatMul") for user in users):
            to.flattened[node.output] = before
        else:
            turned = to.intermediate(node, "turned", before, source.quant if to.integer else None)
            order = to.numbers(node, "order", (0, 3, 1, 2))
            to.file.operator("TRANSPOSE", [value, order], [turned], schema.TransposeOptionsT())
            value = turned
    elif len(before) == 2 and len(after) == 4 and after[2] * after[3] > 1:
        raise Refusal("reshapes a row to an image")
    made = to.output(node, source.quant)
    options = schema.ReshapeOptionsT()
    options.newShape = np.asarray(nhwc(after), np.int32)
    to.file.operator("RESHAPE", [value, to.numbers(node, "shape", nhwc(after))], [made], options)


def concatenate(to: Lowering, node: Node) -> None:
    rank = len(to.of(node.output).shape)
    quant = to.quant(node.output) if to.integer else None
    if any(name in to.graph.constants for name in node.inputs):
        raise Refusal("concatenates a constant")
    options = schema.ConcatenationOptionsT()
    options.axis = axis_nhwc(node.attributes["axis"], rank)
    values = [to.input(name, quant) for name in node.inputs]
    to.file.operator("CONCATENATION", values, [to.output(node)], options)


def pad(to: Lowering, node: Node) -> None:
    """Zeros around an image."""
    source = to.of(node.inputs[0])
    rank = len(source.shape)
    mode = node.attributes.get("mode", b"constant").decode()
    filler = to.constant(node, 2).value if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1)
    if mode != "constant" or rank != 4 or filler.any() or (len(node.inputs) > 3 and node.inputs[3]):
        raise Refusal(f"pads in mode {mode!r} or with other than zeros; only zeros around images are known")
    pads = to.constant(node, 1).value if len(node.inputs) > 1 else np.asarray(node.attributes["pads"])
    if (pads < 0).any():
        raise Refusal("pads by less than nothing")
    sizes = pads.reshape(2, rank).T[[0, 2, 3, 1]]
    inputs = [to.input(node.inputs[0]), to.numbers(node, "pads", sizes)]
    to.file.operator("PAD", inputs, [to.output(node, source.quant)], schema.PadOptionsT())


OPERATORS: Mapping[str, Callable[[Lowering, Node], Any]] = {
    PIXELS: pixels,
    "Add": elementwise,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Concat": concatenate,
    "Conv": convolution,
    "Flatten": reshape,
    "Gemm": product,
    "GlobalAveragePool": mean,
    "HardSigmoid": gate,
    "HardSwish": hard_swish,
    "MatMul": product,
    "MaxPool": max_pool,
    "Mul": elementwise,
    "Pad": pad,
    "ReduceMean": mean,
    "Relu": clip,
    "Requantize": requantize,
    "Reshape": reshape,
    "Sigmoid": sigmoid,
    "Softmax": softmax,
    "Squeeze": reshape,
    "Sub": elementwise,
    "Unsqueeze": reshape,
}
