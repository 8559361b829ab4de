"""onnxruntime's static quantization as the HTP takes it: unsigned activations, signed weights per channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

from edgetl.backends.base import Calibration
from edgetl.backends.onnxruntime.quantizer import one_line_errors, static_qdq
from edgetl.backends.qnn.pixels import fix_pixel_ranges, start_from_pixels
from edgetl.profiles import Recipe


def quantize(
    model: Path, calibration: Calibration, recipe: Recipe, keep_float: Sequence[str], out: Path
) -> None:
    """Write an INT8 QDQ ONNX of ``model`` to ``out`` whose every node runs on the HTP.

    Args:
        keep_float: names of nodes that stay in float, for an HTP that computes in half precision.

    Raises:
        BackendError: if onnxruntime fails.
    """
    with one_line_errors(model):
        source = onnx.load(model)
        pixels = fix_pixel_ranges(source)
        config = get_qnn_qdq_config(
            source,
            None,  # the reader is kept, not used
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=recipe.per_channel,
            activation_symmetric=recipe.activations == "symmetric",
            init_overrides=dict(pixels.overrides),
            stride=1,
        )
        options = dict(config.extra_options)
        static_qdq(
            source,
            calibration,
            recipe,
            [*keep_float, *pixels.keep_float],
            out,
            symmetric=False,  # without a zero point is 128 in unsigned numbers, which the options say
            operators=config.op_types_to_quantize,
            **options,
        )
        quantized = onnx.load(out)
        start_from_pixels(quantized)
        out.write_bytes(quantized.SerializeToString(deterministic=True))
