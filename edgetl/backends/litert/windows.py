"""Operators that slide a window, and the padding they need."""

from __future__ import annotations

from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import numpy.typing as npt

from edgetl.backends.litert.graph import Node, Quant, Refusal
from edgetl.backends.litert.layout import PIXEL, Window, nhwc, window
from edgetl.backends.litert.lowering import Lowering

_LOWEST = float(np.finfo(np.float32).min)


def activation(node: Node) -> int:
    """The number of the activation that a node's operator does itself."""
    return int(getattr(schema.ActivationFunctionType, node.activation))


def slide(options: Any, where: Window) -> None:
    """Write stride and padding into a window operator's options."""
    options.padding = schema.Padding.SAME if where.same else schema.Padding.VALID
    options.strideH, options.strideW = where.stride


def padded(to: Lowering, node: Node, where: Window, *, lowest: bool = False) -> int:
    """The node's first input, with explicit zeros (or the lowest value) around it where SAME won't do."""
    value = to.input(node.inputs[0])
    if not where.padded:
        return value
    pads = [(0, 0), (where.before[0], where.after[0]), (where.before[1], where.after[1]), (0, 0)]
    quant = to.of(node.inputs[0]).quant if to.integer else None
    shape = [size + sum(pad) for size, pad in zip(nhwc(to.of(node.inputs[0]).shape), pads, strict=True)]
    made = to.intermediate(node, "padded", shape, quant)
    sizes = to.numbers(node, "pads", pads)
    if not lowest or (quant is not None and quant.zero == -128):  # there zero is the lowest
        to.file.operator("PAD", [value, sizes], [made], schema.PadOptionsT())
        return made
    filler = to.number(node, "lowest", _LOWEST, quant)
    to.file.operator("PADV2", [value, sizes, filler], [made], schema.PadV2OptionsT())
    return made


def max_pool(to: Lowering, node: Node) -> None:
    """``MaxPool``, whose result has the scale of its input."""
    where = _window(to, node)
    value = padded(to, node, where, lowest=True)
    _pool(to, node, "MAX_POOL_2D", value, where)


def average_pool(to: Lowering, node: Node) -> None:
    """``AveragePool``: a depthwise convolution of equal weights, which XNNPACK has in integers.

    Where padding is not to count it is TFLite's own operator, whose SAME leaves the padding out.
    """
    where = _window(to, node)
    ends = node.attributes.get("pads", (0, 0, 0, 0))[2:]
    if not any(where.before + where.after) or node.attributes.get("count_include_pad", 0):
        if any(after > end for after, end in zip(where.after, ends, strict=True)):
            raise Refusal("an average beyond its padding (ceil_mode)")
        each = 1 / (where.kernel[0] * where.kernel[1])
        channels = to.of(node.output).shape[1]
        per_channel(to, node, np.full(channels, each), np.zeros(channels), where)
    elif where.same:
        _pool(to, node, "AVERAGE_POOL_2D", to.input(node.inputs[0]), where)
    else:
        raise Refusal("an average without its padding, which is not what TFLite's SAME pads")


def _window(to: Lowering, node: Node) -> Window:
    source, result = to.of(node.inputs[0]), to.of(node.output)
    if len(source.shape) != 4 or len(node.outputs) > 1:
        raise Refusal("pools other than images, or tells where the maxima are")
    where = window(node.attributes, node.attributes["kernel_shape"], source.shape[2:], result.shape[2:])
    if where.dilation != (1, 1):
        raise Refusal(f"a pool dilated by {list(where.dilation)}")
    return where


def _pool(to: Lowering, node: Node, operator: str, value: int, where: Window) -> None:
    options = schema.Pool2DOptionsT()
    slide(options, where)
    options.filterHeight, options.filterWidth = where.kernel
    to.file.operator(operator, [value], [to.output(node, to.of(node.inputs[0]).quant)], options)


def per_channel(
    to: Lowering,
    node: Node,
    factor: npt.NDArray[Any],
    offset: npt.NDArray[Any],
    where: Window = PIXEL,
    value: int | None = None,
    source: Quant | None = None,
    out: int | None = None,
) -> None:
    """``factor * sum(x) + offset`` with one of each a channel, as a depthwise convolution of equal weights.

    Args:
        where: what is summed; a single pixel unless given.
        value: the tensor of ``x``, of quantization ``source``; the node's first input unless given.
        out: the tensor to write; the node's output unless given.
    """
    if value is None:
        value, source = padded(to, node, where), to.of(node.inputs[0]).quant
    options = schema.DepthwiseConv2DOptionsT()
    slide(options, where)
    options.depthMultiplier = 1
    options.fusedActivationFunction = activation(node)
    data, along = factor.astype(np.float64), None
    if to.integer:
        along = np.where(data == 0, 127, np.abs(data)) / 127
        data = np.rint(data / along)
    filters = np.broadcast_to(data, (1, *where.kernel, len(data)))
    inputs = [value, *to.weighted(node, filters, 3, offset.astype(np.float64), along, source)]
    result = to.output(node) if out is None else out
    to.file.operator("DEPTHWISE_CONV_2D", inputs, [result], options)
