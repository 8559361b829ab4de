"""Precision and placement of a compiled context, as the provider reported them when it was compiled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.backends.base import EngineSpec, Placement, Precision, Proof, majority
from edgetl.backends.qnn.compiler import FACTS
from edgetl.errors import BackendError
from edgetl.quantity import Quantity

_ARITHMETIC = ("Conv", "FullyConnected", "MatMul")
_MIB = 1 << 20


def read_proof(engine: Path, spec: EngineSpec) -> Proof:
    """What the facts beside a context say.

    Raises:
        BackendError: if they are not there.
    """
    path = engine.with_name(FACTS)
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BackendError(
            f"{path.name} beside {engine.name} is missing or damaged; build it again"
        ) from error
    return Proof(_precision(facts, spec), _placement(facts), facts, _estimate(facts))


def _precision(facts: Mapping[str, Any], spec: EngineSpec) -> Precision:
    layers: Counter[str] = Counter()
    for entry in facts["operators"]:
        if any(name in entry["operator"] for name in _ARITHMETIC):
            layers[entry["precision"]] += entry["count"]
    every = {entry["precision"] for entry in facts["operators"]}
    float_part = "f16" if "f16" in every else "none"
    return Precision(spec.precision, majority(layers), float_part, dict(layers))


def _placement(facts: Mapping[str, Any]) -> Placement:
    share = facts["htp_nodes"] / facts["onnx_nodes"]
    device = f"Hexagon HTP {facts['htp_arch']}"
    return Placement(device, share, None, tuple(facts["elsewhere"]))


def _estimate(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Memory the compiler planned; it tells no time."""
    graphs = facts["graphs"]
    planned = {
        "vtcm_mb": max((graph.get("vtcm_bytes", 0) for graph in graphs), default=0) / _MIB,
        "spill_fill_mb": sum(graph.get("spill_fill_bytes", 0) for graph in graphs) / _MIB,
    }
    return {
        "source": f"QNN {facts['sdk']}",
        "note": "memory that the compiler planned with; it estimates no time",
        **{name: Quantity(value, None, None, 1, "estimated").to_dict() for name, value in planned.items()},
    }
