"""Qualcomm's HTP by onnxruntime-qnn: contexts are compiled here, and run on the NPU or in x86 emulation."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import PORTABLE, Availability, Backend, Calibration, EngineSpec, Proof, Session
from edgetl.errors import BackendError, InputError, MissingDependencyError, needs
from edgetl.versions import version_of

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

_PACKAGE = "onnxruntime-qnn"
_MODULE = "onnxruntime_qnn"
_OLDEST_PYTHON = (3, 11)
_NPU, _EMULATION = "htp", "emulation"
_DRIVERS = ("fastrpc-cdsp*", "adsprpc-smd*")
_SIMULATED = 200
"""Images: EfficientNet-Lite0 takes half a second each on two cores, and twice that for the oldest HTP."""


class QnnBackend(Backend):
    name = "qnn"
    extra = "qnn"
    bundle_options = frozenset(
        {
            "device_id",
            "enable_htp_fp16_precision",
            "htp_arch",
            "htp_performance_mode",
            "qnn_context_priority",
            "rpc_control_latency",
            "soc_model",
            "vtcm_mb",
        }
    )
    dialect = "qnn"
    int8_head = "all"
    quantizers = ("onnxruntime", "onnx")

    def available(self) -> Availability:
        if _package_folder() is None:
            return Availability(False, reason=_how_to_get())
        devices = (_NPU,) if _has_npu() else (_EMULATION,) if _is_x86() else ()
        return Availability(True, self.versions(), devices)

    def versions(self) -> dict[str, str]:
        found = {name: version_of(name) for name in (_PACKAGE, "onnxruntime")}
        return {name: version for name, version in {**found, "qnn": _sdk_version()}.items() if version}

    def obstacle(self, target: Target) -> str | None:
        if not _has_npu():
            return f"there is no Hexagon NPU here (no /dev/fastrpc-cdsp); {target.name} has one"
        return self.available().reason

    def simulator(self, spec: EngineSpec) -> EngineSpec | None:
        """The same context in QNN's emulation of the HTP on x86."""
        return replace(spec, device=_EMULATION, options={}) if _is_x86() else self.stand_in(spec)

    def stand_in(self, spec: EngineSpec) -> EngineSpec:
        return EngineSpec(
            "onnxruntime", PORTABLE, spec.precision, spec.float_precision, "CPUExecutionProvider"
        )

    def simulated_images(self, spec: EngineSpec) -> int | None:
        return _SIMULATED if _is_x86() else None

    def supports(self, model: Path, target: Target) -> list[str] | None:
        self._require()
        from edgetl.backends.qnn.soc import Soc
        from edgetl.backends.qnn.support import refused_by_htp

        return refused_by_htp(model, Soc.of(target), target)

    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        from edgetl.backends.qnn.soc import Soc

        soc = Soc.of(target)
        if keep_float and not soc.has_floats:
            raise InputError(
                f"target {target.name}: an HTP of architecture {soc.arch} computes in integers only, so "
                f"{keep_float[0]!r} can't stay in float; empty keep_float"
            )
        with needs("quantize", "onnx"):
            from edgetl.backends.qnn.quantizer import quantize
        quantize(model, calibration, recipe, keep_float, out)

    def prepare(self, model: Path, target: Target, out: Path) -> None:
        import onnx

        from edgetl.backends.qnn.pixels import start_from_pixels

        quantized = onnx.load(model)
        start_from_pixels(quantized)
        out.write_bytes(quantized.SerializeToString(deterministic=True))

    def build_parts(self, target: Target) -> Mapping[str, Any]:
        from edgetl.backends.qnn.soc import Soc

        return {"provider": Soc.of(target).provider_options()}

    def build(self, model: Path, target: Target, folder: Path) -> str:
        from edgetl.backends.qnn.compiler import compile_context
        from edgetl.backends.qnn.soc import Soc

        soc = Soc.of(target)
        self._require()
        return compile_context(model, soc, target.batch, folder)

    def proof(self, engine: Path, spec: EngineSpec) -> Proof | None:
        from edgetl.backends.qnn.proof import read_proof

        return read_proof(engine, spec)

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        self._require()
        if not engine.is_file():
            raise BackendError(f"{engine.name} does not exist")
        from edgetl.backends.qnn.session import EmulatedSession, HtpSession

        if spec.device == _EMULATION:
            return EmulatedSession(engine, spec, throughput=throughput)
        if not _has_npu():
            raise BackendError(f"{engine.name} runs on a Hexagon NPU, and there is none here")
        return HtpSession(engine, spec)

    def _require(self) -> None:
        if _package_folder() is None:
            raise MissingDependencyError(_PACKAGE, self.extra)


def _how_to_get() -> str:
    if sys.version_info < _OLDEST_PYTHON:
        return f"{_PACKAGE} needs Python 3.11 or later; this is {platform.python_version()}"
    return f"{_PACKAGE} is not installed; install it with: pip install 'edgetl[qnn]'"


def _sdk_version() -> str | None:
    """Version of the QNN libraries in the package, read without importing it."""
    folder = _package_folder()
    try:
        text = (folder / "build_and_package_info.py").read_text(encoding="utf-8") if folder else ""
    except OSError:
        return None
    found = re.search(r"qnn_version\s*=\s*['\"]([^'\"]+)", text)
    return found[1] if found else None


def _package_folder() -> Path | None:
    """Where the package is, found without importing it; None where it is not."""
    try:
        spec = util.find_spec(_MODULE)
    except ImportError:
        return None
    return Path(spec.origin).parent if spec and spec.origin else None


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _has_npu() -> bool:
    """Whether the kernel's driver of a Hexagon processor for computing is here."""
    return not _is_x86() and any(next(Path("/dev").glob(pattern), None) for pattern in _DRIVERS)
