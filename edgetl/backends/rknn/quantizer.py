"""QDQ as RKNN-Toolkit2 imports it: every operator between Q/DQ, since whatever is not computes in float16."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from edgetl.backends.base import Calibration
from edgetl.backends.onnxruntime.integer_input import use_integer_input
from edgetl.backends.onnxruntime.quantizer import one_line_errors, static_qdq
from edgetl.profiles import Recipe

_PREFIX = ("edgetl/cast", "edgetl/layout", "edgetl/mean", "edgetl/std")


def quantize(
    model: Path, calibration: Calibration, recipe: Recipe, keep_float: Sequence[str], out: Path
) -> None:
    """Write an INT8 QDQ ONNX of ``model`` to ``out``: unsigned activations, signed weights.

    Raises:
        BackendError: if onnxruntime fails.
    """
    with one_line_errors(model):
        nodes = onnx.load(model, load_external_data=False).graph.node
        static_qdq(
            model,
            calibration,
            recipe,
            [*keep_float, *(node.name for node in nodes if node.name in _PREFIX)],
            out,
            symmetric=recipe.activations == "symmetric",
            operators=sorted({node.op_type for node in nodes}),
        )
    quantized = onnx.load(out)
    if use_integer_input(quantized):
        onnx.save(quantized, out)
