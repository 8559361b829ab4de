"""onnxruntime's static quantization to QDQ, one calibration image in memory at a time."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from edgetl.backends.base import Calibration, UInt8
from edgetl.backends.onnxruntime.integer_input import use_integer_input
from edgetl.backends.onnxruntime.session import KEPT_FLOAT
from edgetl.contract.onnx_prefix import INPUT
from edgetl.errors import BackendError, EdgetlError
from edgetl.profiles import Recipe, Target

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands out the images in strides of one, after each of which onnxruntime merges its ranges.

    Without the strides its histogram methods keep every activation of every image in memory.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._images: Iterator[UInt8] = iter(calibration.batches())
        self._count = calibration.count
        self._stride: Iterator[UInt8] = iter(())

    def __len__(self) -> int:
        return self._count

    def set_range(self, start_index: int, end_index: int) -> None:
        self._stride = islice(self._images, end_index - start_index)

    def get_next(self) -> dict[str, UInt8] | None:
        image = next(self._stride, None)
        return None if image is None else {INPUT: image}


def quantize(
    model: Path,
    calibration: Calibration,
    recipe: Recipe,
    target: Target,
    keep_float: Sequence[str],
    out: Path,
) -> None:
    """Write an INT8 QDQ ONNX of ``model`` to ``out``: unsigned activations, signed weights.

    Raises:
        BackendError: if onnxruntime fails.
    """
    with one_line_errors(model):
        static_qdq(
            model,
            calibration,
            recipe,
            keep_float,
            out,
            symmetric=recipe.activations == "symmetric",
            reduce_range=target.weight_bits == 7,
        )
    quantized = onnx.load(out)
    if use_integer_input(quantized):
        onnx.save(quantized, out)


def static_qdq(
    model: Path | onnx.ModelProto,
    calibration: Calibration,
    recipe: Recipe,
    keep_float: Sequence[str],
    out: Path,
    *,
    symmetric: bool,
    reduce_range: bool = False,
    operators: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """onnxruntime's static quantization with what a recipe asks for.

    Args:
        keep_float: names of nodes that stay in float.
        symmetric: signed activations without a zero point, instead of unsigned ones with.
        reduce_range: weights of seven bits.
        operators: quantize these only; None for all that onnxruntime can.
        options: more of onnxruntime's ``extra_options``.
    """
    with _temporary_files_in(out.parent):
        quantize_static(
            model,
            out,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=recipe.per_channel,
            reduce_range=reduce_range,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=operators,
            nodes_to_exclude=list(keep_float),
            calibrate_method=_METHODS[recipe.method],
            extra_options={
                "ActivationSymmetric": symmetric,
                "WeightSymmetric": True,
                "CalibTensorRangeSymmetric": symmetric,
                "CalibStridedMinMax": 1,
                **options,
            },
        )
    if keep_float:
        marked = onnx.load(out)
        marked.metadata_props.add(key=KEPT_FLOAT, value=" ".join(keep_float))
        onnx.save(marked, out)


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """onnxruntime's intermediate models go where those of a killed run are swept away."""
    former = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = former


@contextlib.contextmanager
def one_line_errors(model: Path) -> Iterator[None]:
    """Whatever onnx or onnxruntime raise becomes a BackendError; what they print is dropped."""
    try:
        with _quiet():
            yield
    except (EdgetlError, OSError):
        raise
    except Exception as error:  # onnx's and onnxruntime's errors share no base class
        raise BackendError(
            f"onnxruntime cannot quantize {model.name}: {' '.join(str(error).split())}"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime advises on pre-processing, which the export has done, and prints on the caller's stdout."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
