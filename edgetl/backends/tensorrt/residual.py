"""Residual additions: TensorRT runs one inside the convolution it follows, if the other operand is INT8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import onnx


def fused_operands(graph: onnx.GraphProto, keep_float: Collection[str] = ()) -> dict[str, int]:
    """Which operand of each residual addition is the convolution it can run in.

    That is the first operand which a convolution made for this addition only; the other is computed too.

    Args:
        keep_float: names of nodes that stay in float; a convolution among them takes no addition in.

    Returns:
        The operand's index, by the addition's name.
    """
    made = {tensor: node for node in graph.node for tensor in node.output}
    uses = Counter(tensor for node in graph.node for tensor in node.input)
    uses.update(value.name for value in graph.output)
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type != "Add" or not all(tensor in made for tensor in node.input):
            continue
        for index, tensor in enumerate(node.input):
            source = made[tensor]
            if source.op_type == "Conv" and source.name not in keep_float and uses[tensor] == 1:
                found[node.name] = index
                break
    return found


def release(graph: onnx.GraphProto, fused: Mapping[str, int]) -> None:
    """Take the Q/DQ pair between a convolution and its addition out again, in place.

    Args:
        fused: index of the convolution's operand, by the addition's name.
    """
    made = {tensor: node for node in graph.node for tensor in node.output}
    gone = set()
    for node in graph.node:
        if node.name not in fused:
            continue
        dequantize = made[node.input[fused[node.name]]]
        if dequantize.op_type != "DequantizeLinear":
            continue  # the addition itself was kept in float
        quantize = made[dequantize.input[0]]
        node.input[fused[node.name]] = quantize.input[0]
        gone |= {quantize.name, dequantize.name}
    kept = [node for node in graph.node if node.name not in gone]
    del graph.node[:]
    graph.node.extend(kept)
    used = {tensor for node in kept for tensor in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
