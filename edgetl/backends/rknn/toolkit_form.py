"""An edgetl ONNX in the form that RKNN-Toolkit2 takes: a float NCHW input, mean and std apart, opset 19.

Read by the child in the toolchain's environment too, so it imports only NumPy and onnx.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 19
"""The newest that RKNN-Toolkit2 2.5 takes."""
_IR_VERSION = 10
_FLOAT_PREFIX = ("Cast", "Transpose", "Sub", "Div")
_INTEGER_PREFIX = ("Transpose", "DequantizeLinear")
_INPUT, _INTEGERS = "edgetl_rknn_input", "edgetl_rknn_integers"
_GRID = ("edgetl_rknn_scale", "edgetl_rknn_zero_point")


@dataclass(frozen=True)
class ToolkitForm:
    """A model for ``load_onnx`` with what ``config`` is told.

    Attributes:
        mean: one for each channel, in units of the 0..255 range; None for a model without edgetl's prefix.
        std: like ``mean``.
        input: shape of the pixels, ``[N, H, W, 3]``; None like ``mean``.
    """

    model: onnx.ModelProto
    mean: list[float] | None
    std: list[float] | None
    input: list[int] | None


def toolkit_form(model: onnx.ModelProto) -> ToolkitForm:
    """Take the prefix out of the graph, since the toolkit normalises pixels itself, and lower the opset.

    A symbolic batch becomes one. A model whose input is no uint8 keeps it.

    Raises:
        ValueError: if a uint8 input is followed by something else than edgetl's prefix, or the opset can't
            be lowered.
    """
    model = _lowered(model)
    graph = model.graph
    _spell_out_zero_points(graph)
    source = graph.input[0]
    _fix_batch(graph)
    if source.type.tensor_type.elem_type != TensorProto.UINT8:
        return ToolkitForm(model, None, None, None)
    shape = [dimension.dim_value for dimension in source.type.tensor_type.shape.dim]
    if chain := _follow(graph, source.name, _FLOAT_PREFIX):
        mean, std = _constant(graph, chain[2].input[1]), _constant(graph, chain[3].input[1])
        name = chain[3].output[0]
        _replace(graph, chain, [])
    elif chain := _follow(graph, source.name, _INTEGER_PREFIX):
        dequantize = chain[1]
        scale, zero = (_constant(graph, name) for name in dequantize.input[1:])
        mean, std = zero.astype(np.float64), 1 / scale.astype(np.float64)
        name = _INPUT
        _replace(graph, chain, _quantized_input(graph, scale, zero, dequantize.output[0]))
    else:
        raise ValueError(
            "the model's uint8 input is not followed by edgetl's prefix as Rockchip's form has it; "
            "quantize the float model for this target"
        )
    batch, height, width, _ = shape
    del graph.input[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, height, width]))
    return ToolkitForm(model, _by_channel(mean), _by_channel(std), shape)


def _quantized_input(
    graph: onnx.GraphProto, scale: np.ndarray, zero: np.ndarray, output: str
) -> list[onnx.NodeProto]:
    """Q/DQ that map normalised pixels to themselves: pixel - zero point is exact in INT8."""
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values), name)
        for name, values in zip(_GRID, (scale, zero), strict=True)
    )
    return [
        helper.make_node("QuantizeLinear", [_INPUT, *_GRID], [_INTEGERS], name=f"{_INPUT}/quantize"),
        helper.make_node("DequantizeLinear", [_INTEGERS, *_GRID], [output], name=f"{_INPUT}/dequantize"),
    ]


def _replace(graph: onnx.GraphProto, gone: list[onnx.NodeProto], new: list[onnx.NodeProto]) -> None:
    """Put ``new`` in front of the graph instead of ``gone``, and drop constants that nobody reads."""
    outputs = {node.output[0] for node in gone}
    kept = new + [node for node in graph.node if not outputs & set(node.output)]
    used = {name for node in kept for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def _follow(graph: onnx.GraphProto, tensor: str, operators: tuple[str, ...]) -> list[onnx.NodeProto] | None:
    """The chain of nodes of these operators from a tensor, each the only user of the one before."""
    chain: list[onnx.NodeProto] = []
    for operator in operators:
        users = [node for node in graph.node if tensor in node.input]
        if len(users) != 1 or users[0].op_type != operator:
            return None
        chain.append(users[0])
        tensor = users[0].output[0]
    return chain


def _constant(graph: onnx.GraphProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name))


def _by_channel(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.broadcast_to(values.reshape(-1), 3)]


def _spell_out_zero_points(graph: onnx.GraphProto) -> None:
    """The toolkit counts on a third input, which ONNX leaves out where it is zero."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 2 and node.input[0] in constants:
            values = numpy_helper.to_array(constants[node.input[0]])
            scale = numpy_helper.to_array(constants[node.input[1]])
            zeros = numpy_helper.from_array(np.zeros(scale.shape, values.dtype), f"{node.input[1]}_zeros")
            graph.initializer.append(zeros)
            node.input.append(zeros.name)


def _fix_batch(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and not dimensions[0].dim_value:
            dimensions[0].dim_value = 1


def _lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in an opset that the toolkit takes.

    An operator that is the same in both opsets needs no conversion, which onnx offers for some only.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    lowered.ir_version = min(lowered.ir_version, _IR_VERSION)
    main = next(entry for entry in lowered.opset_import if entry.domain in ("", "ai.onnx"))
    if main.version <= OPSET:
        return lowered
    operators = {node.op_type for node in lowered.graph.node if node.domain in ("", "ai.onnx")}
    changed = [name for name in sorted(operators) if _changed(name, main.version)]
    if not changed:
        main.version = OPSET
        return lowered
    try:
        return onnx.version_converter.convert_version(lowered, OPSET)
    except Exception as error:  # onnx raises what it likes
        raise ValueError(
            f"opset {main.version} can't be lowered to {OPSET}, the newest RKNN-Toolkit2 takes: "
            f"{changed[0]} is newer"
        ) from error


def _changed(operator: str, opset: int) -> bool:
    """Whether an operator means something else in ``opset`` than in the toolkit's.

    QuantizeLinear and DequantizeLinear have only gained types and attributes that edgetl does not write.
    """
    if operator in ("QuantizeLinear", "DequantizeLinear"):
        return False
    return bool(onnx.defs.get_schema(operator, opset).since_version > OPSET)
