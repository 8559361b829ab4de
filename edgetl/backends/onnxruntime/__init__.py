"""onnxruntime: its static QDQ quantizer, ONNX engines, and whichever execution providers are installed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.backends.base import Availability, Backend, Calibration, EngineSpec, Session
from edgetl.errors import MissingDependencyError

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target


class OnnxRuntimeBackend(Backend):
    name = "onnxruntime"
    extra = "onnxruntime"

    def available(self) -> Availability:
        try:
            import onnxruntime
        except ImportError as error:
            return Availability(False, reason=f"{error}; install it with: pip install 'edgetl[onnxruntime]'")
        providers = tuple(onnxruntime.get_available_providers())
        return Availability(True, {"onnxruntime": onnxruntime.__version__}, providers)

    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        try:
            from edgetl.backends.onnxruntime.quantizer import quantize
        except ImportError as error:
            raise MissingDependencyError(error.name or "onnx", "quantize") from error
        quantize(model, calibration, recipe, target, keep_float, out)

    def build(self, model: Path, target: Target, folder: Path) -> str:
        shutil.copyfile(model, folder / "model.onnx")
        return "model.onnx"

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        try:
            from edgetl.backends.onnxruntime.session import OnnxRuntimeSession
        except ImportError as error:
            raise MissingDependencyError("onnxruntime", "onnxruntime") from error
        return OnnxRuntimeSession(engine, spec, throughput=throughput)
