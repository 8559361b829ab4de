"""The float part of a model in half precision, said by the ONNX's types, as TensorRT is strongly typed.

The contract's prefix stays in float32, so that pixels are normalised as everywhere else; so do the logits.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from edgetl.backends.tensorrt.dialect import opset
from edgetl.errors import BackendError, InputError

Float32 = npt.NDArray[np.float32]
Kind = Literal["f16", "bf16"]

_TYPES = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_PREFIX = ("edgetl/cast", "edgetl/layout", "edgetl/mean", "edgetl/std")
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_LARGEST = 65504.0
_SMALLEST_NORMAL = 2.0**-14


def prepare(model: Path, float_precision: str, out: Path) -> None:
    """Write ``model`` to ``out`` with its float part in ``float_precision``; a copy if it is so already.

    Raises:
        InputError: if the model can't be had in that precision, or is in another half precision.
        BackendError: if one of its numbers is out of that precision's range.
    """
    wanted = "f32" if float_precision == "auto" else float_precision
    if wanted != "f32" and wanted not in _TYPES:
        raise InputError(f"TensorRT has no {float_precision!r} precision; ask for f32, f16 or bf16")
    loaded = onnx.load(model)
    found = float_part(loaded)
    if found == wanted:
        shutil.copyfile(model, out)
        return
    if found != "f32":
        raise InputError(
            f"the float part of {model.name} is {found}, {wanted} is asked for; start from the float model"
        )
    half = to_half(loaded, cast(Kind, wanted))
    out.write_bytes(half.SerializeToString(deterministic=True))


def float_part(model: onnx.ModelProto) -> str:
    """``f16`` or ``bf16`` if a model's constants have been narrowed, else ``f32``."""
    types = {tensor.data_type for tensor in model.graph.initializer}
    return next((kind for kind, type_ in _TYPES.items() if type_ in types), "f32")


def to_half(model: onnx.ModelProto, kind: Kind) -> onnx.ModelProto:
    """A copy with float16 or bfloat16 where there was float32, but for the prefix, the outputs and what ONNX
    has in float32 only. INT8 weights change where their scale is too small for float16.

    Raises:
        InputError: if the model has branches, or can't be brought to the opset that this takes.
        BackendError: if a weight or a quantized range is too large for float16.
    """
    half = _with_opset(model, _needed_opset(model, kind))
    graph = half.graph
    _refuse_branches(graph)
    if kind == "f16":
        _fit_scales(graph)
    kept = _kept_constants(half)
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_narrow(tensor, tensor.name, kind))
    for node in graph.node:
        if node.name not in _PREFIX:
            _narrow_attributes(node, kind)
    _cast_after_prefix(graph, kind)
    _cast_outputs(graph)
    del graph.value_info[:]  # they tell the types that were
    return half


def _needed_opset(model: onnx.ModelProto, kind: Kind) -> int:
    """The first in which ``Conv`` takes bfloat16, or ``QuantizeLinear`` a float16 scale."""
    if kind == "bf16":
        return 22
    return 19 if any(node.op_type in _QUANTIZERS for node in model.graph.node) else 0


def _with_opset(model: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """A copy that has this opset at least."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if opset(model) >= wanted:
        return copy
    try:
        return version_converter.convert_version(copy, wanted)
    except Exception as error:  # the converter's and protobuf's errors share no base class
        raise InputError(
            f"half precision takes opset {wanted}, to which this model of opset {opset(model)} can't be "
            f"converted ({' '.join(str(error).split())}); export it with that opset, or stay with f32"
        ) from error


def _refuse_branches(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise InputError(
                f"{node.op_type} {node.name!r} holds a graph of its own, which edgetl can't turn to half "
                "precision; export the model without it, or stay with f32"
            )


def _kept_constants(model: onnx.ModelProto) -> set[str]:
    """Names of those that stay float32: the prefix's, and inputs for which ONNX has no other type."""
    kept: set[str] = set()
    for node in model.graph.node:
        if node.name in _PREFIX:
            kept.update(node.input)
        elif node.domain in ("", "ai.onnx"):
            formal = onnx.defs.get_schema(node.op_type, opset(model)).inputs
            pairs = zip(node.input, formal, strict=False)
            kept.update(name for name, declared in pairs if declared.type_str == "tensor(float)")
    return kept


def _narrow_attributes(node: onnx.NodeProto, kind: Kind) -> None:
    """Tensors a node carries, and the type it casts to."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
            attribute.i = _TYPES[kind]
        elif attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_narrow(attribute.t, node.name, kind))


def _narrow(tensor: onnx.TensorProto, name: str, kind: Kind) -> onnx.TensorProto:
    values: Float32 = numpy_helper.to_array(tensor)
    if kind == "f16":
        _require_range(values, name)
        data = values.astype("<f2").tobytes()
    else:
        bits = np.ascontiguousarray(values).view(np.uint32)
        data = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()  # ties to even
    return helper.make_tensor(tensor.name, _TYPES[kind], tensor.dims, data, raw=True)


def _require_range(values: Float32, name: str) -> None:
    largest = np.abs(values[np.isfinite(values)]).max(initial=0)
    if largest > _LARGEST:
        raise BackendError(
            f"{name!r} reaches {largest:g}, and float16 ends at {_LARGEST:g}; "
            "set float_precision to bf16 or f32 in the target"
        )


def _fit_scales(graph: onnx.GraphProto) -> None:
    """Make scales float16 numbers, in place, without changing what the INT8 weights stand for.

    Below the smallest normal number float16's values lie far apart, and TensorRT refuses a scale of 0: there
    the scale becomes the next larger value, and the weights it belongs to are rounded again.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in _QUANTIZERS]
    names = {node.input[1] for node in nodes}
    ratios: dict[str, Float32] = {}
    for tensor in graph.initializer:
        if tensor.name not in names or tensor.data_type != TensorProto.FLOAT:
            continue
        scales: Float32 = numpy_helper.to_array(tensor)
        _require_range(scales * 127, tensor.name)
        small = scales < _SMALLEST_NORMAL
        if small.any():
            fitted = np.where(small, _next_half(scales), scales)
            tensor.CopyFrom(numpy_helper.from_array(fitted, tensor.name))
            ratios[tensor.name] = np.divide(scales, fitted, dtype=np.float32)
    for node in nodes:
        weights = constants.get(node.input[0])
        if weights is not None and weights.data_type == TensorProto.INT8 and node.input[1] in ratios:
            axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
            _round_again(weights, ratios[node.input[1]], axis)


def _next_half(values: Float32) -> Float32:
    """The smallest float16 numbers that are not below the values, as float32."""
    half = values.astype(np.float16)
    above = np.where(half < values, np.nextafter(half, np.float16(np.inf)), half)
    return above.astype(np.float32)


def _round_again(weights: onnx.TensorProto, ratios: Float32, axis: int) -> None:
    """Multiply INT8 weights by a factor for each channel, or by one factor, in place."""
    values = numpy_helper.to_array(weights)
    if ratios.ndim:
        shape = [1] * values.ndim
        shape[axis] = ratios.size
        ratios = ratios.reshape(shape)
    rounded = np.rint(values * ratios).astype(np.int8)
    weights.CopyFrom(numpy_helper.from_array(rounded, weights.name))


def _cast_after_prefix(graph: onnx.GraphProto, kind: Kind) -> None:
    """A cast behind each tensor that leaves the prefix, in place."""
    made = {tensor for node in graph.node if node.name in _PREFIX for tensor in node.output}
    inside = {tensor for node in graph.node if node.name in _PREFIX for tensor in node.input}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in _PREFIX:
            node.input[:] = [f"{tensor}_half" if tensor in made else tensor for tensor in node.input]
        nodes.append(node)
        nodes += [
            helper.make_node("Cast", [tensor], [f"{tensor}_half"], name=f"{node.name}/half", to=_TYPES[kind])
            for tensor in node.output
            if tensor in made - inside
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _cast_outputs(graph: onnx.GraphProto) -> None:
    """Float32 outputs under their own names, in place."""
    for value in graph.output:
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        half = f"{value.name}_half"
        for node in graph.node:
            node.input[:] = [half if tensor == value.name else tensor for tensor in node.input]
            node.output[:] = [half if tensor == value.name else tensor for tensor in node.output]
        cast = helper.make_node(
            "Cast", [half], [value.name], name=f"edgetl/{value.name}", to=TensorProto.FLOAT
        )
        graph.node.append(cast)
