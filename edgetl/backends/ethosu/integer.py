"""An integer ``.tflite`` model read: its two ends, and what in it does not compute in integers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.errors import BackendError


@dataclass(frozen=True)
class End:
    """The input or the output: int8 ``q`` stands for ``scale * (q - zero)``."""

    shape: tuple[int, ...]
    scale: float
    zero: int


@dataclass(frozen=True)
class IntegerModel:
    """``floats`` names the operators that compute in float: ``output (OPERATOR)``."""

    input: End
    output: End
    floats: tuple[str, ...]


def read_integer(model: Path) -> IntegerModel:
    """Read a model whose two ends are int8.

    Raises:
        BackendError: if one of them is not.
    """
    import ai_edge_litert.schema_py_generated as schema

    found = schema.Model.GetRootAsModel(model.read_bytes(), 0)
    graph = found.Subgraphs(0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    floats = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        tensors = [graph.Tensors(number) for number in _operands(operator)]
        if any(tensor.Type() == schema.TensorType.FLOAT32 for tensor in tensors):
            code = found.OperatorCodes(operator.OpcodeIndex())
            name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "custom")
            floats.append(f"{tensors[-1].Name().decode()} ({name})")
    int8 = schema.TensorType.INT8
    ends = [graph.Tensors(graph.Inputs(0)), graph.Tensors(graph.Outputs(0))]
    return IntegerModel(_end(ends[0], int8), _end(ends[1], int8), tuple(floats))


def _operands(operator: Any) -> list[int]:
    """Indices of its tensors, the last of them an output; absent ones are left out."""
    inputs = [operator.Inputs(index) for index in range(operator.InputsLength())]
    outputs = [operator.Outputs(index) for index in range(operator.OutputsLength())]
    return [index for index in (*inputs, *outputs) if index >= 0]


def _end(tensor: Any, int8: int) -> End:
    quantization = tensor.Quantization()
    if tensor.Type() != int8 or quantization is None or quantization.ScaleLength() != 1:
        raise BackendError(f"tensor {tensor.Name().decode()}, an end of the model, is not quantized to int8")
    shape = tuple(tensor.Shape(index) for index in range(tensor.ShapeLength()))
    return End(shape, float(quantization.Scale(0)), int(quantization.ZeroPoint(0)))
