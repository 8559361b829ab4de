"""Which operators of an ONNX model onnxruntime refuses, in its own words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from edgetl.backends.base import EngineSpec
from edgetl.backends.onnxruntime import CPU
from edgetl.backends.onnxruntime.session import open_session, session_options
from edgetl.backends.operators import every_node, name_of, read_onnx
from edgetl.errors import BackendError

if TYPE_CHECKING:
    import onnx


def refused(model: Path, spec: EngineSpec, obstacle: str | None) -> list[str]:
    """A line for each node that is refused; empty if all are taken.

    onnxruntime stops at the first node it refuses; operators it has never heard of are told all at once.

    Args:
        obstacle: why the spec's provider can't be asked here; the CPU's is, for every model must pass it.

    Raises:
        BackendError: if the CPU takes the model and the provider can't be asked here.
    """
    try:
        _load(model, replace(spec, device=CPU, options={}))
    except BackendError as error:
        return unknown_operators(read_onnx(model)) or [str(error)]
    if spec.device == CPU:
        return []
    if obstacle:
        raise BackendError(f"onnxruntime knows every operator; {obstacle}")
    try:
        _load(model, spec)
    except BackendError as error:
        return [str(error)]
    return []


def _load(model: Path, spec: EngineSpec) -> None:
    options = session_options(spec)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    open_session(model, spec, options)


def unknown_operators(model: onnx.ModelProto) -> list[str]:
    """A line for each node whose operator neither onnxruntime nor the model itself defines."""
    known = {(schema.domain, schema.name) for schema in get_all_operator_schema()}
    known |= {(function.domain, function.name) for function in model.functions}
    return [
        f"{operator} node {name_of(node)}: onnxruntime knows no such operator"
        for operator, node in every_node(model)
        if ("" if node.domain == "ai.onnx" else node.domain, node.op_type) not in known
    ]
