"""What TensorRT does not take in a quantized ONNX, found before it is handed over and said with a remedy.

TensorRT's own parser names the first such node only, and some it takes for what they are not: unsigned Q/DQ,
for one, it reads as signed and says so in a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgetl.errors import BackendError

_SCALES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_INTEGERS = (TensorProto.INT8, TensorProto.INT4, TensorProto.FLOAT8E4M3FN)
_REMEDY = (
    "quantize the float model for a TensorRT target: edgetl quantize FLOAT.onnx --images DIR --target TARGET"
)
_EXPORT = "give edgetl the model with its float input, and declare its preprocessing (--size, --mean, --std)"


@dataclass(frozen=True)
class Finding:
    """One thing TensorRT does not take.

    Attributes:
        node: the node's name, or its operator and first output where it has none.
        problem: what is wrong with it.
        remedy: what to do about it.
    """

    node: str
    problem: str
    remedy: str


def require(model: onnx.ModelProto, file: Path, *, opset_limit: int | None = None) -> None:
    """Refuse a model that TensorRT does not take.

    Raises:
        BackendError: naming the first finding and the number of the others.
    """
    findings = check(model, opset_limit=opset_limit)
    if findings:
        first, others = findings[0], len(findings) - 1
        more = f" (and {others} more)" if others else ""
        raise BackendError(
            f"TensorRT can't take {file.name}: {first.node} {first.problem}{more}; {first.remedy}"
        )


def check(model: onnx.ModelProto, *, opset_limit: int | None = None) -> list[Finding]:
    """What TensorRT does not take, in the graph's order.

    Args:
        opset_limit: the newest opset the TensorRT in question parses; None for no limit.
    """
    found = []
    if opset_limit is not None and opset(model) > opset_limit:
        problem = f"has opset {opset(model)}, newer than {opset_limit}"
        remedy = f"export it with opset {opset_limit}, or use a newer TensorRT"
        found.append(Finding("the model", problem, remedy))
    graph = model.graph
    constants = _constants(graph)
    readers = _readers(graph)
    pixels = {item.name for item in graph.input if item.type.tensor_type.elem_type == TensorProto.UINT8}
    quantized = any(node.op_type == "QuantizeLinear" for node in graph.node)
    for node in graph.node:
        name = node.name or f"{node.op_type} of {node.output[0]}"
        if node.op_type != "Cast" and pixels.intersection(node.input):
            problem = f"is a {node.op_type} of the uint8 input, which a Cast must read first"
            found.append(Finding(name, problem, _REMEDY if quantized else _EXPORT))
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            found += [Finding(name, problem, _REMEDY) for problem in _problems(node, constants)]
        if node.op_type == "QuantizeLinear":
            for reader in readers[node.output[0]]:
                if reader != "DequantizeLinear":
                    found.append(Finding(name, f"goes to {reader} instead of DequantizeLinear", _REMEDY))
    return found


def opset(model: onnx.ModelProto) -> int:
    """Version of the default operator set."""
    return int(next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")))


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    nodes = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}
    made = {name: item.t for name, node in nodes.items() for item in node.attribute if item.name == "value"}
    return made | {tensor.name: tensor for tensor in graph.initializer}


def _readers(graph: onnx.GraphProto) -> defaultdict[str, list[str]]:
    """Operators that read each tensor."""
    readers = defaultdict[str, list[str]](list)
    for node in graph.node:
        for tensor in node.input:
            readers[tensor].append(node.op_type)
    for value in graph.output:
        readers[value.name].append("an output of the model")
    return readers


def _problems(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Iterator[str]:
    """What is wrong with the scale and the type of one Q/DQ node."""
    scale = constants.get(node.input[1])  # None if computed, which TensorRT folds where it can
    if scale is not None and scale.data_type not in _SCALES:
        yield f"has a scale of {_type_name(scale.data_type)}, not float or half"
    elif scale is not None and not (numpy_helper.to_array(scale).astype(np.float32) > 0).all():
        yield "has a scale that is not positive"
    zero_point = constants.get(node.input[2]) if len(node.input) > 2 else None
    integers = zero_point
    if node.op_type == "DequantizeLinear":
        integers = constants.get(node.input[0], zero_point)
    elif len(node.input) < 3 and not any(item.name == "output_dtype" for item in node.attribute):
        yield "says no type, which in ONNX means unsigned 8-bit integers"
    if integers is not None and integers.data_type == TensorProto.INT32:
        yield "dequantizes an INT32 bias, which TensorRT takes in float only"
    elif integers is not None and integers.data_type not in _INTEGERS:
        yield f"has integers of {_type_name(integers.data_type)}, where TensorRT has signed 8-bit ones"
    elif zero_point is not None and numpy_helper.to_array(zero_point).any():
        yield "has a zero point other than 0"


def _type_name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind))
