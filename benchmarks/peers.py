"""INT8 as one gets it from the quantizers' own defaults, from the same float ONNX and the same images."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgetl.backends.base import EngineSpec, UInt8
from edgetl.contract.onnx_prefix import INPUT

NNCF = EngineSpec("openvino", "nncf.xml", "int8", "auto", "CPU")
"""``auto``: what is left in float runs in OpenVINO's own choice of precision."""


def plain_nncf(ir: Path, images: Sequence[UInt8], out: Path) -> Path:
    """``nncf.quantize`` of the OpenVINO model (batch 1), performance preset, defaults otherwise."""
    os.environ.setdefault("NNCF_CI", "1")  # no telemetry
    import nncf
    import openvino

    with _quiet():
        model = nncf.quantize(
            openvino.Core().read_model(ir),
            nncf.Dataset(images),
            preset=nncf.QuantizationPreset.PERFORMANCE,
        )
    openvino.save_model(model, out)
    return out


def plain_onnxruntime(onnx: Path, images: Sequence[UInt8], out: Path) -> Path:
    """``quantize_static`` to QDQ, per-channel, unsigned activations, signed weights, defaults otherwise."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._images, None)
            return None if image is None else {INPUT: image}

    with _quiet():
        quantization.quantize_static(
            str(onnx),
            str(out),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    return out


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    root = logging.getLogger()  # onnxruntime's advice to pre-process, which the export has done
    level = root.level
    root.setLevel(logging.ERROR)
    logging.getLogger("nncf").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
