"""LiteRT (TensorFlow Lite): the QDQ ONNX converted to an integer .tflite, run on the CPU by XNNPACK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.backends.base import Availability, Backend, Calibration, EngineSpec, Session
from edgetl.errors import InputError, needs
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

DEVICE = "CPU"
ENGINE = "model.tflite"
_PACKAGE, _MODULE = "ai-edge-litert", "ai_edge_litert"
_PRECISIONS = ("int8", "f32")


class LiteRtBackend(Backend):
    name = "litert"
    extra = "litert"
    bundle_options = frozenset()
    int8_head = "all"
    quantizers = ("onnxruntime", "onnx")

    def available(self) -> Availability:
        try:
            import ai_edge_litert.interpreter  # noqa: F401
        except (ImportError, OSError) as error:
            return Availability(False, reason=f"{error}; install it with: pip install 'edgetl[litert]'")
        return Availability(True, self.versions(), (DEVICE,))

    def versions(self) -> dict[str, str]:
        return {name: version for name, version in versions(_PACKAGE).items() if version}

    def supports(self, model: Path, target: Target) -> list[str]:
        with needs("litert", _MODULE):
            from edgetl.backends.litert.support import refused_operators

            return refused_operators(model, target)

    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        with needs("quantize", "onnx"):
            from edgetl.backends.litert.quantizer import quantize
        quantize(model, calibration, recipe, keep_float, out)

    def build(self, model: Path, target: Target, folder: Path) -> str:
        """Convert a model, and load what came of it once, so that what LiteRT can't run is known here."""
        if target.precision not in _PRECISIONS:
            known = " and ".join(_PRECISIONS)
            raise InputError(f"target {target.name}: LiteRT computes in {known}, not in {target.precision}")
        with needs("litert", _MODULE):
            from edgetl.backends.litert.convert import convert
            from edgetl.backends.litert.session import open_interpreter
        engine = folder / ENGINE
        engine.write_bytes(convert(model, batch=target.batch))
        open_interpreter(engine, threads=1)
        return engine.name

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        """Load a .tflite, or convert and load the ONNX that a head is refitted on."""
        content = None
        with needs("litert", _MODULE):
            from edgetl.backends.litert.session import LiteRtSession

            if engine.suffix == ".onnx":
                from edgetl.backends.litert.convert import convert

                content = convert(engine)
        return LiteRtSession(engine, spec, throughput=throughput, content=content)
