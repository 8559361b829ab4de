"""onnxruntime's static quantization, as TFLite's integers want it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetl.backends.base import Calibration
from edgetl.backends.onnxruntime.quantizer import one_line_errors, static_qdq
from edgetl.profiles import Recipe


def quantize(
    model: Path, calibration: Calibration, recipe: Recipe, keep_float: Sequence[str], out: Path
) -> None:
    """Write an INT8 QDQ ONNX of ``model`` to ``out``: 8-bit activations, signed weights.

    The prefix stays as it is: the converter makes of it what is exact to a fraction of a grey level.

    Raises:
        BackendError: if onnxruntime fails.
    """
    with one_line_errors(model):
        symmetric = recipe.activations == "symmetric"
        static_qdq(model, calibration, recipe, keep_float, out, symmetric=symmetric)
