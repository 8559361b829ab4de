"""What a model asks for: which nodes multiply, and which of them in INT8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARITHMETIC = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Demands:
    """The matrix products and convolutions of a model.

    Attributes:
        nodes: operator of each, by node name.
        int8: names of those whose two operands are dequantized integers.
        weight_bytes: of all constants.
    """

    nodes: Mapping[str, str]
    int8: tuple[str, ...]
    weight_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {"nodes": dict(self.nodes), "int8": list(self.int8), "weight_bytes": self.weight_bytes}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Demands:
        return cls(dict(data["nodes"]), tuple(data["int8"]), int(data["weight_bytes"]))


def read_demands(model: Path) -> Demands:
    """Read them from an ONNX file."""
    import onnx

    graph = onnx.load(model).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    products = [node for node in graph.node if node.op_type in ARITHMETIC]
    return Demands(
        nodes={node.name: node.op_type for node in products},
        int8=tuple(node.name for node in products if dequantized.issuperset(node.input[:2])),
        weight_bytes=sum(tensor.ByteSize() for tensor in graph.initializer),
    )
