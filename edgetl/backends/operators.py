"""Reading ONNX files: whole, and their nodes by operator, for whoever tells which a toolchain refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.errors import BackendError

if TYPE_CHECKING:
    import onnx


def read_onnx(model: Path) -> onnx.ModelProto:
    """Load an ONNX file.

    Raises:
        BackendError: if it is none.
    """
    import onnx

    try:
        return onnx.load(model)
    except Exception as error:  # protobuf's decode error has moved between its versions
        raise BackendError(f"cannot read {model.name}: {' '.join(str(error).split())}") from error


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether the graph has Q/DQ nodes."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def every_node(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.NodeProto]]:
    """Operator (``Conv``, ``domain.Name`` outside ONNX's own) and node, those of subgraphs too."""
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            yield (f"{node.domain}.{node.op_type}" if node.domain else node.op_type), node
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            graphs += [graph for attribute in node.attribute for graph in attribute.graphs]


def name_of(node: onnx.NodeProto) -> str:
    """Its name, or what it computes where it has none."""
    return node.name or ", ".join(node.output)
