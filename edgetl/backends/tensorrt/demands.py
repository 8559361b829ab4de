"""What a model asks for: which nodes multiply, and which of them in INT8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgetl.backends.operators import read_onnx

ARITHMETIC = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Demands:
    """The matrix products and convolutions of a model.

    Attributes:
        nodes: operator of each, by node name.
        int8: names of those whose two operands are dequantized integers.
        weight_bytes: of all constants.
        dynamic: the input whose batch is dynamic, as ``name:{batch}x224x224x3``; None where it is fixed.
    """

    nodes: Mapping[str, str]
    int8: tuple[str, ...]
    weight_bytes: int
    dynamic: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "nodes": dict(self.nodes), "int8": list(self.int8)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Demands:
        nodes, int8 = dict(data["nodes"]), tuple(data["int8"])
        return cls(nodes, int8, int(data["weight_bytes"]), data.get("dynamic"))


def read_demands(model: Path) -> Demands:
    """Read them from an ONNX file."""
    graph = read_onnx(model).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    products = [node for node in graph.node if node.op_type in ARITHMETIC]
    return Demands(
        nodes={node.name: node.op_type for node in products},
        int8=tuple(node.name for node in products if dequantized.issuperset(node.input[:2])),
        weight_bytes=sum(tensor.ByteSize() for tensor in graph.initializer),
        dynamic=_dynamic(graph.input[0]),
    )


def _dynamic(source: Any) -> str | None:
    batch, *rest = source.type.tensor_type.shape.dim
    if batch.dim_value > 0:
        return None
    sizes = "x".join(str(size.dim_value) for size in rest)
    return f"{source.name}:{{batch}}x{sizes}"
