"""From a float or QDQ ONNX to a .tflite: integers where the ONNX has them, operator by operator.

The file takes the contract's ``uint8 [batch, H, W, 3]`` and gives ``float32 [batch, outputs]``, or, for
processors that know nothing but integers, ``int8`` on both ends. Equal models give equal bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx
from onnx import shape_inference

from edgetl.backends.litert.flatbuffer import Flatbuffer
from edgetl.backends.litert.fusing import fuse
from edgetl.backends.litert.graph import Graph, Refusal, describe, read_graph, real_inputs
from edgetl.backends.litert.lowering import Lowering
from edgetl.backends.litert.operators import OPERATORS
from edgetl.backends.operators import every_node, name_of
from edgetl.errors import BackendError

Ends = Literal["pixels-to-logits", "integers"]
_LARGEST = 2**31 - 2**20
"""Bytes of a flatbuffer, whose offsets have 31 bits."""


def convert(model: Path | onnx.ModelProto, *, batch: int = 1, ends: Ends = "pixels-to-logits") -> bytes:
    """The .tflite of an ONNX with edgetl's uint8 prefix.

    Args:
        batch: images an inference takes.
        ends: ``pixels-to-logits``: ``uint8`` pixels in, ``float32`` out; ``integers``: ``int8`` in, which is
            the pixel less 128, and ``int8`` out, to be dequantized by the output tensor's scale and zero
            point.

    Raises:
        BackendError: if TFLite can't take the model; names every node that it refuses.
    """
    data, reasons = _convert(model, batch, ends)
    if reasons:
        name = model.name if isinstance(model, Path) else "the model"
        more = f" (and {len(reasons) - 5} more)" if len(reasons) > 5 else ""
        raise BackendError(f"LiteRT can't take {name}: {'; '.join(reasons[:5])}{more}")
    return data


def refused(model: Path | onnx.ModelProto, *, batch: int = 1, ends: Ends = "pixels-to-logits") -> list[str]:
    """One line for each node that ``convert`` can't convert; none if it can."""
    return _convert(model, batch, ends)[1]


def _made_up(model: onnx.ModelProto) -> list[str]:
    """Nodes whose operator ONNX does not know, so that shapes behind them can't be told."""
    return [
        f"{operator} node {name_of(node)}: ONNX knows no such operator"
        for operator, node in every_node(model)
        if not onnx.defs.has(node.op_type, "" if node.domain == "ai.onnx" else node.domain)
    ]


def _convert(model: Path | onnx.ModelProto, batch: int, ends: Ends) -> tuple[bytes, list[str]]:
    """The file's bytes, and why there are none."""
    try:
        loaded = onnx.load(model) if isinstance(model, Path) else model
    except Exception as error:  # protobuf's DecodeError, and onnx's own
        return b"", [f"no ONNX file: {' '.join(str(error).split())}"]
    if reasons := _wrong_ends(loaded):
        return b"", reasons
    try:
        graph = read_graph(loaded, batch)
    except shape_inference.InferenceError as error:
        return b"", _made_up(loaded) or [f"the model contradicts itself: {' '.join(str(error).split())}"]
    fuse(graph)
    file = Flatbuffer()
    to = Lowering(graph, file, pixels=ends == "pixels-to-logits")
    failed: set[str] = set()
    for node in graph.nodes:
        if node.refused:
            reasons.append(node.refused)
        elif node.operator not in OPERATORS:
            reasons.append(describe(node.name, node.operator, "there is no such operator in the converter"))
        elif failed.isdisjoint(node.inputs):
            try:
                to.start(node)
                OPERATORS[node.operator](to, node)
                to.finish(node)
                continue
            except Refusal as reason:
                reasons.append(describe(node.name, node.operator, reason))
        failed.update(node.outputs)
    if reasons:
        return b"", reasons
    return _finish(graph, to, file, ends)


def _wrong_ends(model: onnx.ModelProto) -> list[str]:
    inputs = real_inputs(model.graph)
    shapes = [len(value.type.tensor_type.shape.dim) for value in inputs]
    if shapes != [4] or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        return ["the input is not edgetl's uint8 [N, H, W, 3]; give the model its contract first"]
    if len(model.graph.output) != 1:
        return [f"it has {len(model.graph.output)} outputs; an image classifier has one"]
    return []


def _finish(graph: Graph, to: Lowering, file: Flatbuffer, ends: Ends) -> tuple[bytes, list[str]]:
    quant = graph.tensors[graph.output].quant
    if ends == "integers" and quant is None:
        return b"", [f"output {graph.output_name} is float; an engine of integers only can't have it"]
    output = to.value(graph.output, quant if ends == "integers" else None)
    file.rename(output, graph.output_name)
    data = file.finish([to.entry], [output])
    if len(data) > _LARGEST:
        return b"", [f"the file would have {len(data) / 2**30:.1f} GiB; a flatbuffer holds 2"]
    return data, []
