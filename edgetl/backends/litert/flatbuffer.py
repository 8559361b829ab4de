"""A .tflite file, piece by piece: tensors, operators, and the bytes they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
import numpy.typing as npt

IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
_SCHEMA = 3
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8,
    "int8": schema.TensorType.INT8,
}
# the first version of each operator that takes 8-bit integers (LiteRT's op_version.cc); others have one
_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    **dict.fromkeys(
        (
            *("ADD", "SUB", "MUL", "MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "PAD", "PADV2"),
            *("MAXIMUM", "MINIMUM"),
            *("LOGISTIC", "SOFTMAX", "TRANSPOSE", "RELU", "RELU6", "DEQUANTIZE", "QUANTIZE"),
        ),
        2,
    ),
}


@dataclass(frozen=True)
class Scales:
    """How a tensor's integers stand for real numbers: ``scale * (q - zero)``, along ``axis`` if several."""

    scale: npt.NDArray[np.float32]
    zero: npt.NDArray[np.int64]
    axis: int = 0


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer on a 16-byte boundary, as the schema asks and its generated Python code does not do."""

    def Pack(self, builder: Any) -> Any:
        data = None
        if self.data is not None:
            size = len(self.data)
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class Flatbuffer:
    """One subgraph in the making."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[str, int] = {}
        self._buffers: list[Any] = [_AlignedBuffer()]  # the first one is empty, by convention

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        scales: Scales | None = None,
        data: npt.NDArray[Any] | None = None,
    ) -> int:
        """Add a tensor, constant if it has ``data``; returns its index."""
        made = schema.TensorT()
        made.name, made.type = name, _TYPES[kind]
        made.shape = np.asarray(shape, np.int32)
        made.buffer = 0
        if data is not None:
            buffer = _AlignedBuffer()
            buffer.data = np.ascontiguousarray(data, np.dtype(kind).newbyteorder("<")).tobytes()
            self._buffers.append(buffer)
            made.buffer = len(self._buffers) - 1
        if scales is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(scales.scale).astype(np.float32)
            made.quantization.zeroPoint = np.atleast_1d(scales.zero).astype(np.int64)
            made.quantization.quantizedDimension = scales.axis
        self._tensors.append(made)
        return len(self._tensors) - 1

    def rename(self, tensor: int, name: str) -> None:
        """Call a tensor by another name."""
        self._tensors[tensor].name = name

    def operator(
        self, operator: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None
    ) -> None:
        """Add an operator, by its name in ``BuiltinOperator``; ``options`` is an object of the schema's."""
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.setdefault(operator, len(self._codes))
        made.inputs, made.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            made.builtinOptions = options
        self._operators.append(made)

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file's bytes."""
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
        model = schema.ModelT()
        model.version, model.description = _SCHEMA, "edgetl"
        model.operatorCodes = [_code(name) for name in self._codes]
        model.subgraphs, model.buffers = [graph], self._buffers
        builder = flatbuffers.Builder(sum(len(buffer.data or ()) for buffer in self._buffers) + (1 << 16))
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())


def _code(name: str) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, name)
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)
    made.version = _VERSIONS.get(name, 1)
    return made
