"""NNCF's post-training quantization, on the ONNX graph, so that the result stays portable."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import nncf
import nncf.onnx.engine
import onnx
import onnxruntime
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from nncf.quantization.range_estimator import (
    AggregatorType,
    RangeEstimatorParameters,
    StatisticsCollectorParameters,
    StatisticsType,
)

from edgetl.backends.base import Calibration, UInt8
from edgetl.contract.onnx_prefix import INPUT
from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.profiles import Recipe, Target

_FUSION = "ConvAddActivationFusion"
_TAIL = 1e-5
"""Share of values clipped at each end by percentile ranges; onnxruntime's default too."""


class _Images:
    """A data source NNCF can iterate more than once, holding one image at a time."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration

    def __iter__(self) -> Iterator[UInt8]:
        return iter(self._calibration.batches())


def quantize(
    model: Path,
    calibration: Calibration,
    recipe: Recipe,
    target: Target,
    keep_float: Sequence[str],
    out: Path,
) -> None:
    """Write an INT8 QDQ ONNX of ``model`` to ``out``.

    Raises:
        InputError: if NNCF does not know the recipe's range method.
        BackendError: if NNCF fails.
    """
    # symmetric activations spare the integer kernels the zero-point compensation
    mixed = recipe.activations == "asymmetric"
    preset = nncf.QuantizationPreset.MIXED if mixed else nncf.QuantizationPreset.PERFORMANCE
    try:
        with _quiet(), _sessions_that_load():
            quantized = nncf.quantize(
                onnx.load(model),
                nncf.Dataset(_Images(calibration), lambda image: {INPUT: image}),
                preset=preset,
                target_device=nncf.TargetDevice.CPU,
                subset_size=calibration.count,
                fast_bias_correction=recipe.bias_correction != "full",
                ignored_scope=nncf.IgnoredScope(names=list(keep_float)) if keep_float else None,
                advanced_parameters=_advanced(recipe, target),
            )
    except (EdgetlError, OSError):
        raise
    except Exception as error:  # protobuf's, onnx's and NNCF's errors share no base class
        raise BackendError(f"NNCF cannot quantize {model.name}: {' '.join(str(error).split())}") from error
    onnx.save(quantized, out)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF draws its own progress bars on stdout, which belongs to the caller."""
    logging.getLogger("nncf").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


class _Session(onnxruntime.InferenceSession):  # type: ignore[misc]
    """Without the one fusion that makes onnxruntime 1.31 lose an output and fail to load.

    Bias correction asks for the output of a convolution that is summed with another (a ResNet's shortcut),
    which the fusion of convolution, sum and activation drops.
    """

    def __init__(self, model: bytes, options: Any, **rest: Any) -> None:
        try:
            super().__init__(model, options, enable_fallback=0, **rest)
        except RuntimeError:
            disabled = {"disabled_optimizers": [_FUSION]}
            super().__init__(model, options, enable_fallback=0, **rest, **disabled)


@contextlib.contextmanager
def _sessions_that_load() -> Iterator[None]:
    """NNCF opens its sessions itself and takes no options for them."""
    with mock.patch.object(nncf.onnx.engine.rt, "InferenceSession", _Session):
        yield


def _advanced(recipe: Recipe, target: Target) -> AdvancedQuantizationParameters:
    options: dict[str, Any] = {
        "disable_bias_correction": recipe.bias_correction == "none",
        "overflow_fix": OverflowFix.ENABLE if target.weight_bits == 7 else OverflowFix.DISABLE,
    }
    if recipe.method == "percentile":
        tail = StatisticsCollectorParameters(
            StatisticsType.QUANTILE, AggregatorType.MEAN, quantile_outlier_prob=_TAIL
        )
        options["activations_range_estimator_params"] = RangeEstimatorParameters(tail, tail)
    elif recipe.method != "minmax":
        raise InputError(f"NNCF has no {recipe.method!r} ranges; choose a minmax or percentile recipe")
    if not recipe.per_channel:
        raise InputError("NNCF quantizes convolution weights per channel; choose a per-channel recipe")
    return AdvancedQuantizationParameters(**options)
