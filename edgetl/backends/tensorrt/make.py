"""An engine with its sidecars: the key it is tied to, how it was built, and its layers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from edgetl.backends.base import Placement, Precision, Proof
from edgetl.backends.tensorrt.apart import build_apart
from edgetl.backends.tensorrt.binding import Binding
from edgetl.backends.tensorrt.builder import Built
from edgetl.backends.tensorrt.demands import Demands
from edgetl.backends.tensorrt.key import BUILD, make_key
from edgetl.backends.tensorrt.layers import few
from edgetl.backends.tensorrt.settings import BuildSettings, trtexec
from edgetl.device.gpu import Gpu, gpus
from edgetl.errors import BackendError
from edgetl.store import default_root

ENGINE = "model.engine"
LAYERS = "layers.json"


def make_engine(
    binding: Binding,
    model: Path,
    settings: BuildSettings,
    demands: Demands,
    precision: tuple[str, str],
    folder: Path,
) -> str:
    """Build an engine into ``folder`` and prove that it computes in the precisions the model asks for.

    Args:
        precision: asked for, of the whole and of the unquantized part.

    Returns:
        Name of the engine's file.

    Raises:
        BackendError: if TensorRT refuses, or builds in float what the model asks for in INT8.
    """
    gpu = None if binding.ahead_of_time else next(iter(gpus()), None)
    cache = _timing_cache(binding, gpu) if settings.timing_cache and gpu else None
    built = build_apart(binding.backend, model, settings, folder, cache)
    report = built.layers
    if lost := report.float_nodes(demands.nodes, demands.int8):
        raise BackendError(
            f"{len(lost)} of {len(demands.int8)} layers asked for in INT8 were built in float: "
            f"{few(lost)}; name them in the recipe's keep_float if that is wanted"
        )
    # without a GPU the report is all there is; on one the loaded engine can be asked and measured
    if binding.ahead_of_time and (untold := report.untold_nodes(demands.int8)):
        raise BackendError(
            f"the builder's report does not tell the precision of {len(untold)} of {len(demands.int8)} "
            f"layers asked for in INT8: {few(untold)}; this version can't be proved right, use another"
        )
    capabilities = settings.compute_capabilities if gpu is None else (gpu.compute_capability,)
    key = make_key(
        built.engine,
        binding.backend,
        binding.version,
        capabilities,
        gpu.name if gpu else None,
        gpu.driver if gpu else None,
    )
    read = report.precision(*precision, demands.nodes)
    facts = {
        "key": key.to_dict(),
        "settings": settings.to_dict(),
        "demands": demands.to_dict(),
        "asked": list(precision),
        "trtexec": trtexec(settings, binding.backend, "model.onnx", ENGINE, demands.dynamic),
        "memory": _memory(built.peak_mb),
        "seconds": None if binding.ahead_of_time else round(built.seconds, 3),
        "warnings": list(built.warnings),
        "fallback": list(built.fallback),
        "precision": read.to_dict(),
        "placement": _placement(settings, gpu, built).to_dict(),
        "summary": report.summary(demands.nodes, demands.int8),
    }
    (folder / ENGINE).write_bytes(built.engine)
    (folder / LAYERS).write_text(json.dumps(report.to_dict(), separators=(",", ":")) + "\n")
    (folder / BUILD).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    return ENGINE


def read_proof(engine: Path) -> Proof | None:
    """What was read from the builder's layer report when the engine was made."""
    sidecar = engine.parent / BUILD
    if not sidecar.is_file():
        return None
    facts = json.loads(sidecar.read_text())
    detail, place = facts["precision"], facts["placement"]
    precision = Precision(detail["asked"], detail["used"], detail["float_part"], detail["executed"])
    placement = Placement(
        place["device"], place["share_of_nodes"], place["share_of_time"], tuple(place["elsewhere"])
    )
    summary = {**facts["summary"], "build_command": facts["trtexec"]}
    return Proof(precision, placement, summary)


def _memory(peak: tuple[int, int] | None) -> dict[str, int] | None:
    return None if peak is None else {"peak_cpu_mb": peak[0], "peak_gpu_mb": peak[1]}


def _timing_cache(binding: Binding, gpu: Gpu) -> Path:
    """Where kernel timings of this version on this GPU are kept; TensorRT refuses those of another."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{binding.backend}-{binding.version}-{gpu.name}")
    return default_root() / "timing" / f"{name}.cache"


def _placement(settings: BuildSettings, gpu: Gpu | None, built: Built) -> Placement:
    """Where the layers go: a plan has no layer for the host, so all of them are on the GPU or the DLA."""
    names = ", ".join(settings.compute_capabilities)
    device = gpu.name if gpu else f"GPU of compute capability {names}"
    if settings.dla_core is None:
        return Placement(device, 1.0, None)
    share = 1 - len(built.fallback) / built.network_layers
    return Placement(f"DLA {settings.dla_core}", share, None, built.fallback)
