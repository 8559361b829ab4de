"""A build plan: all that a board needs to build its own engine, checked as far as it goes without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import EngineSpec
from edgetl.backends.tensorrt.apart import refused_nodes
from edgetl.backends.tensorrt.binding import Binding, load_binding
from edgetl.backends.tensorrt.demands import Demands, read_demands
from edgetl.backends.tensorrt.failures import explain
from edgetl.backends.tensorrt.make import ENGINE, make_engine
from edgetl.backends.tensorrt.settings import BuildSettings, trtexec
from edgetl.errors import BackendError, EdgetlError

if TYPE_CHECKING:
    from edgetl.profiles import Target

_BF16_OPSET = 22
_MEBIBYTE = 1 << 20
_BASE_MB = 600
_WEIGHT_COPIES = 3


def write_plan(backend: str, model: Path, target: Target, out: Path) -> str:
    """Check a model for a device that is not here and write how to build its engine there.

    Raises:
        BackendError: if the model is not in TensorRT's dialect, or its parser refuses it.
    """
    import onnx

    from edgetl.backends.tensorrt.dialect import require

    settings, demands = BuildSettings.of(target), read_demands(model)
    if settings.opset_limit and settings.opset_limit < _BF16_OPSET and target.float_precision == "bf16":
        raise BackendError(
            f"bf16 takes opset {_BF16_OPSET}, and {target.name}'s TensorRT parses up to "
            f"{settings.opset_limit}; use f16"
        )
    require(onnx.load(model), model, opset_limit=settings.opset_limit)
    counted = f"{len(demands.int8)} of {len(demands.nodes)} convolutions and matrix products"
    plan = {
        "backend": backend,
        "settings": settings.to_dict(),
        "demands": demands.to_dict(),
        "asked": [target.precision, target.float_precision],
        "trtexec": trtexec(settings, backend, "model.onnx", ENGINE, demands.dynamic),
        "timing_cache": "timing/ in edgetl's cache folder on the device" if settings.timing_cache else None,
        "needs_mb": {"value": memory_needed(demands, settings), "kind": "estimated"},
        "checks": [
            f"Q/DQ dialect of TensorRT: {counted} are asked for in INT8",
            _parser_check(model, out.parent),
        ],
    }
    out.write_text(json.dumps(plan, indent=1, sort_keys=True) + "\n")
    return out.name


def build_from(binding: Binding, model: Path, former: Path, spec: EngineSpec, folder: Path) -> str:
    """Build on this device what ``former`` (a plan, or the ``build.json`` of another engine) describes.

    Needs neither onnx nor torch.

    Raises:
        BackendError: if memory is too small, or the build fails.
    """
    try:
        facts = json.loads(former.read_text())
        settings = BuildSettings.from_dict(facts["settings"])
        demands = Demands.from_dict(facts["demands"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{former.name} is damaged: {error}") from error
    _require_memory(memory_needed(demands, settings))
    return make_engine(binding, model, settings, demands, (spec.precision, spec.float_precision), folder)


def memory_needed(demands: Demands, settings: BuildSettings) -> int:
    """MiB a build is estimated to take: CUDA and TensorRT themselves, copies of the weights, scratch.

    The builder holds the network's weights, those it has re-laid and the serialized engine at once.
    """
    weights = _WEIGHT_COPIES * demands.weight_bytes // _MEBIBYTE
    return int(_BASE_MB + weights + (settings.workspace_mb or 0))


def summary_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What of a plan goes into the results."""
    demands = Demands.from_dict(plan["demands"])
    needs = f"building is estimated to take {plan['needs_mb']['value']:,} MB of the device's memory"
    return {
        "build_command": plan["trtexec"],
        "checks": list(plan["checks"]),
        "findings": [needs],
        "asked_int8": len(demands.int8),
        "of_products": len(demands.nodes),
    }


def _parser_check(model: Path, work: Path) -> str:
    """RTX's parser stands for the board's: both are built from the same public sources."""
    try:
        binding = load_binding("tensorrt-rtx")
    except EdgetlError:
        return (
            "not checked by a parser: TensorRT for RTX is not installed (pip install 'edgetl[tensorrt-rtx]')"
        )
    if refused := refused_nodes(binding.backend, model, work):
        raise BackendError(f"TensorRT's parser refuses {model.name}: {explain(refused)}")
    return f"every node is taken by the ONNX parser of TensorRT for RTX {binding.version}"


def _require_memory(needed: int) -> None:
    free = _free_mb()
    if free is not None and free < needed:
        raise BackendError(
            f"building is estimated to take {needed} MB and {free} MB are free; close other programs, "
            "or lower workspace_mb in the target and make the bundle again"
        )


def _free_mb() -> int | None:
    """Memory that is free, MiB; a Jetson's GPU shares it."""
    from edgetl.device.environment import environment

    available = environment()["memory"]["available_mb"]
    return None if available is None else int(available)
