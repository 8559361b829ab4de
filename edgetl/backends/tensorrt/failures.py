"""What TensorRT logged when it gave up, as one line that names the layer and a remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LAYER = re.compile(r"(?:operation|[Nn]ode|[Ll]ayer)[: ]+\[?'?([^\s'\],;:]+)'?")
_REMEDIES = (
    (
        r"no optimization profile has been defined",
        "fix the model's batch size (edgetl export --batch)",
    ),
    (
        r"FP32 GEMM is not supported",
        'set float_precision = "f16" in the target, or leave that compute capability out',
    ),
    (
        r"[Rr]efit|STRIP_PLAN",
        "engines that can be refitted or are stripped are for one compute capability at a time",
    ),
    (r"VERSION_COMPATIBLE|[Vv]ersion.compatible", "build the engine with the version that runs it"),
    (
        r"[Oo]ut ?[Oo]f ?[Mm]emory|cudaErrorMemoryAllocation|cudaError 2\b",
        "the device is out of memory: close other programs, or lower workspace_mb in the target",
    ),
    (
        r"[Cc]ould not find any implementation",
        "raise workspace_mb in the target, or keep that layer in float (keep_float in the recipe)",
    ),
    (r"[Zz]ero.?point", "quantize with a TensorRT target, whose Q/DQ has no zero points"),
    (
        r"(?i)int32.*dequantize|dequantize.*int32",
        "quantize with a TensorRT target, whose biases stay in float",
    ),
    (
        r"UNSUPPORTED|[Nn]o importer|Unsupported|onnxOpCheckers",
        "TensorRT has no such operator: replace it in the model, or run it in onnxruntime",
    ),
    (r"DLA", "let the GPU take what the accelerator can't run (gpu_fallback = true in the target)"),
    (
        r"[Dd]eserializ|[Vv]ersion tag|magic|engine header",
        "the engine is damaged or of another TensorRT: rebuild it with edgetl build BUNDLE",
    ),
    (
        r"cudaError 35|CUDA driver version is insufficient|no CUDA-capable device",
        "this needs an NVIDIA GPU and its driver",
    ),
    (r"FP8.*support", "these GPUs have no FP8: use INT8 or f16"),
)
"""Patterns of log lines, the more telling first, with what to do."""


def explain(errors: Sequence[str]) -> str:
    """One line from the error messages of a failed call: what was logged, the layer, a remedy.

    Args:
        errors: in the order they were logged; the first names the cause, later ones repeat it.
    """
    if not errors:
        return "TensorRT gave no reason"
    lines = [_without_echo(text) for text in errors]
    line = next((text for text in lines if _remedy(text)), lines[0])
    layer = _LAYER.search(line)
    named = f" (layer {layer[1]})" if layer and layer[1] not in line[:40] else ""
    remedy = _remedy(line)
    return f"{_short(line)}{named}" + (f"; {remedy}" if remedy else "")


def _without_echo(text: str) -> str:
    """On one line, without the CUDA error that follows any failure on a machine with no driver."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join([line for line in lines if "catchCudaError" not in line] or lines)


def _remedy(text: str) -> str | None:
    return next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)), None)


def _short(line: str) -> str:
    """Without the place in TensorRT's own sources."""
    line = re.sub(r"\s*In \w+ at /_src/[^\s)]*(:\d+)?", "", line)
    line = re.sub(r"^\[?[A-Za-z]+\.cpp(::\w+)?:{1,2}\d+\]?:?\s*", "", line)
    return line if len(line) <= 300 else f"{line[:297]}..."
