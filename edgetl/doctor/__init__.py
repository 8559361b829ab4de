"""What is installed, what is missing and how to get it, and what this machine can do for each target.

Nothing is installed or changed, and a broken package becomes a line among the findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl import profiles
from edgetl.backends import backend_names
from edgetl.backends.base import Availability
from edgetl.device.environment import environment
from edgetl.doctor.asking import ask_backend, ask_standing
from edgetl.doctor.nvidia import findings, lacking_to_plan
from edgetl.profiles import Target
from edgetl.store import default_root
from edgetl.versions import versions


def examine(name: str | None = None, root: Path = Path("/")) -> dict[str, Any]:
    """The findings, JSON-ready.

    Args:
        name: of one target to ask about; None asks about all.
        root: the folder that holds ``proc``, ``sys``, ``etc`` and ``var``.

    Returns:
        ``environment``; versions of the packages for ``training``, ``quantizing`` and the ``report``;
        ``backends``; ``targets``, each with whether its engine can be built here (``buildable``) or made
        ready for its device to build (``planned``), what accuracy and latency are worth here, and for
        NVIDIA's devices the ``findings`` (topic, text); ``cache``: the store's folder.

    Raises:
        InputError: if there is no such target, or a profile is wrong.
    """
    facts = environment(root)
    chosen = [profiles.target(item) for item in ([name] if name else profiles.target_names())]
    asked = {target.backend for target in chosen} if name else set(backend_names())
    found = {item: ask_backend(item) for item in sorted(asked)}
    return {
        "environment": facts,
        "training": versions(
            "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxslim", "scikit-learn"
        ),
        "quantizing": versions("nncf", "onnxruntime", "onnxruntime-gpu"),
        "report": versions("plotly"),
        "backends": [_backend(item, state) for item, state in found.items()],
        "targets": [_target(target, facts, found[target.backend]) for target in chosen],
        "cache": str(default_root()),
    }


def served(facts: Mapping[str, Any]) -> bool:
    """Whether a target asked about can be built here, or made ready for its device."""
    return any(row["buildable"] or row["planned"] for row in facts["targets"])


def _backend(name: str, found: Availability) -> dict[str, Any]:
    row = {"name": name, "available": found.ok, "versions": dict(found.versions)}
    return {**row, "devices": list(found.devices), "reason": found.reason}


def _target(target: Target, facts: Mapping[str, Any], found: Availability) -> dict[str, Any]:
    here = ask_standing(target, facts)
    on_device = target.made == "on-device"
    return {
        "name": target.name,
        "buildable": found.ok and (here.loads or not on_device),
        "planned": on_device and not here.loads and not lacking_to_plan(),
        "accuracy": here.kind,
        "latency": here.latency,
        "why": here.reason,
        "findings": [finding._asdict() for finding in findings(target, facts, found, loads=here.loads)],
    }


__all__ = ["examine", "served"]
