"""Spares the engine the float detour of its input: uint8 pixels are a quantized tensor already.

The contract's prefix turns pixels into floats only for the first ``QuantizeLinear`` to turn them back.
Where mean and std are the same for the three channels, ``(pixel - 255 mean) / (255 std)`` is itself a
dequantization, with scale ``1 / (255 std)`` and zero point ``255 mean``.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgetl.contract.onnx_prefix import INPUT

_SCALE = "edgetl_input_scale"
_ZERO = "edgetl_input_zero_point"


def use_integer_input(model: onnx.ModelProto) -> bool:
    """Rewrite ``Cast, Transpose, Sub, Div, Quantize, Dequantize`` to ``Transpose, Dequantize``, in place.

    The zero point is rounded to an integer: for a mean of 0.5 that moves the input by half a grey level,
    less than the quantization step that goes.

    Returns:
        Whether the graph had that shape, channel-independent, and was rewritten.
    """
    graph = model.graph
    chain = follow(graph, INPUT, ("Cast", "Transpose", "Sub", "Div", "QuantizeLinear", "DequantizeLinear"))
    if chain is None:
        return False
    cast, transpose, subtract, divide, _, dequantize = chain
    mean, deviation = float_constant(graph, subtract.input[1]), float_constant(graph, divide.input[1])
    if mean is None or deviation is None or np.ptp(mean) or np.ptp(deviation):
        return False
    zero_point = round(float(mean.flat[0]))
    if not 0 <= zero_point <= 255:
        return False
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.asarray(1 / deviation.flat[0], np.float32), _SCALE),
            numpy_helper.from_array(np.asarray(zero_point, np.uint8), _ZERO),
        ]
    )
    layout = helper.make_node("Transpose", [INPUT], [cast.output[0]], name=transpose.name, perm=[0, 3, 1, 2])
    pixels = helper.make_node(
        "DequantizeLinear", [cast.output[0], _SCALE, _ZERO], [dequantize.output[0]], name=dequantize.name
    )
    gone = {node.name for node in chain}
    kept = [node for node in graph.node if node.name not in gone]
    stale = {name for node in chain for name in node.output}
    values = [value for value in graph.value_info if value.name not in stale]
    del graph.node[:], graph.value_info[:]
    graph.node.extend([layout, pixels, *kept])
    graph.value_info.extend(values)
    drop_unused(graph)
    return True


def follow(graph: onnx.GraphProto, start: str, operators: tuple[str, ...]) -> list[onnx.NodeProto] | None:
    """The chain of nodes of these operators from a tensor, each the only user of the one before."""
    chain: list[onnx.NodeProto] = []
    tensor = start
    for operator in operators:
        users = [node for node in graph.node if tensor in node.input]
        if len(users) != 1 or users[0].op_type != operator:
            return None
        chain.append(users[0])
        tensor = users[0].output[0]
    return chain


def float_constant(graph: onnx.GraphProto, name: str) -> np.ndarray | None:
    found = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    if found is None or found.data_type != TensorProto.FLOAT:
        return None
    return numpy_helper.to_array(found)


def drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
