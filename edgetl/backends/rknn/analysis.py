"""The toolkit's error analysis as a table for the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.errors import BackendError
from edgetl.quantity import Quantity

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_ROW = re.compile(r"^\[(\w+)\] (\S+)[ \t]*(?:(-?[\d.]+) \| \S+[ \t]+(-?[\d.]+) \| \S+)?[ \t]*$", re.MULTILINE)
"""Without numbers where the operator is fused with the next."""


def read_analysis(
    table: str, cosine: float, version: str, images: int, nodes: Mapping[str, str]
) -> Mapping[str, Any]:
    """See :meth:`edgetl.backends.base.Backend.analyse`; a layer has the name of the first node fused into it.

    Args:
        table: as the toolkit writes it; the first image's.
        cosine: of the twin's logits to those of the QDQ model, in the simulator, over all images.
        nodes: names of the model's nodes by output, which the toolkit's layers are called after.

    Raises:
        BackendError: if there is no such table.
    """
    layers, fused = [], []
    for op, output, entire, single in _ROW.findall(_COLOUR.sub("", table)):
        fused.append((op, nodes.get(output, output)))
        if entire:
            name, operators = fused[0][1], " + ".join(operator for operator, _ in fused)
            errors = {"entire": _simulated(entire, 1), "single": _simulated(single, 1)}
            layers.append({"name": name, "op": operators, **errors})
            fused = []
    if not layers:
        raise BackendError("RKNN-Toolkit2 wrote no table of errors")
    note = "of a twin that the toolkit quantized itself by the same images: it analyses no imported QDQ model"
    return {
        "source": f"RKNN-Toolkit2 {version}",
        "note": note,
        "twin_cosine": _simulated(cosine, images),
        "layers": layers,
    }


def nodes_by_output(model: Path) -> dict[str, str]:
    """Names of an ONNX file's nodes by the tensors that they make."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    return {output: node.name for node in graph.node for output in node.output}


def _simulated(value: str | float, n: int) -> dict[str, Any]:
    return Quantity(float(value), None, None, n, "simulated").to_dict()
