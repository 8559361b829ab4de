"""A model with half tensors as a float32 model, which onnxruntime's CPU provider runs several times as fast.

It has few kernels for float16, slow ones for what is quantized, and none for bfloat16 convolutions. The twin
has float32 tensors, and a ``Cast`` to half and back where the half graph rounds:

- float16: where onnxruntime does. It computes the half graph in float32 too and keeps what passes between
  its kernels; it rounds what it quantizes, and the INT8 weights that it dequantizes beforehand.
- bfloat16: every node's result, as the graph's types say, but not what is dequantized: TensorRT multiplies
  the integers, and scales their sums in float32.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_EXACT = ("Constant", "ConstantOfShape", "DequantizeLinear")
_SELECTING = (
    *("Clip", "Max", "MaxPool", "Min", "Relu", "Where"),
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice"),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
"""Operators whose results are among their operands: rounded before them or after, these are the same, and
after them onnxruntime can still run a ``Relu`` or ``Clip`` within its convolution."""


def write_widened(model: Path, out: Path) -> None:
    """Write ``model`` widened to ``out``; a copy where it has no half tensors."""
    loaded = onnx.load(model)
    if _half_types(loaded):
        out.write_bytes(widen(loaded).SerializeToString(deterministic=True))
    else:
        shutil.copyfile(model, out)


def widen(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that has float32 for float16 and bfloat16, and rounds as the module's docstring says.

    The model's inputs and outputs are no half tensors, as in all of edgetl's models.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            _widen_tensor(attribute.t)
            if attribute.name in ("to", "dtype") and attribute.i in _HALF:
                attribute.i = TensorProto.FLOAT
    nodes = _with_roundings(graph, _half_types(model))
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # they tell the types that were
    return wide


def _half_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every half tensor that a node makes."""
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    types = {value.name: value.type.tensor_type.elem_type for value in inferred}
    return {name: kind for name, kind in types.items() if kind in _HALF}


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _HALF:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _with_roundings(graph: onnx.GraphProto, kinds: Mapping[str, int]) -> list[onnx.NodeProto]:
    """The graph's nodes, changed in place to read rounded tensors, and the casts that round these.

    Args:
        kinds: the half type of each tensor that had one, by name.
    """
    constants = {tensor.name for tensor in graph.initializer}
    unrounded = _unrounded(graph, kinds)
    rounded: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for index, tensor in enumerate(node.input):
            if tensor in unrounded and _reads_rounded(node, kinds[tensor]):
                node.input[index] = f"{tensor}/rounded"
                if tensor not in rounded:
                    nodes += _casts(tensor, f"{tensor}/rounded", kinds[tensor])
                    rounded.add(tensor)
        nodes.append(node)
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            weights = node.output[0]
            if kinds.get(weights) == TensorProto.FLOAT16:
                node.output[0] = f"{weights}/exact"
                nodes += _casts(f"{weights}/exact", weights, TensorProto.FLOAT16)
    return nodes


def _unrounded(graph: onnx.GraphProto, kinds: Mapping[str, int]) -> set[str]:
    """Tensors whose float32 values may be no half numbers."""
    found: set[str] = set()
    for node in graph.node:
        computes = node.op_type not in _EXACT and node.op_type not in _SELECTING
        if computes or (node.op_type in _SELECTING and found.intersection(node.input)):
            found.update(tensor for tensor in node.output if tensor in kinds)
    return found


def _reads_rounded(node: onnx.NodeProto, kind: int) -> bool:
    if kind == TensorProto.FLOAT16:
        return bool(node.op_type == "QuantizeLinear")
    return node.op_type not in _SELECTING


def _casts(tensor: str, rounded: str, kind: int) -> list[onnx.NodeProto]:
    """To a half type and back; onnxruntime leaves such a pair in the graph."""
    half = f"{rounded}/half"
    return [
        helper.make_node("Cast", [tensor], [half], name=half, to=kind),
        helper.make_node("Cast", [half], [rounded], name=rounded, to=TensorProto.FLOAT),
    ]
