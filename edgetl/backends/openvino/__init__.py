"""OpenVINO: NNCF's quantizer, IR engines, and the CPU, GPU, NPU and AUTO plugins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import Availability, Backend, Calibration, EngineSpec, Session, failed
from edgetl.backends.openvino.stable_names import stabilise_names
from edgetl.errors import MissingDependencyError

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target


class OpenVinoBackend(Backend):
    name = "openvino"
    extra = "openvino"

    def available(self) -> Availability:
        try:
            import openvino
        except ImportError as error:
            return Availability(False, reason=f"{error}; install it with: pip install 'edgetl[openvino]'")
        versions = {"openvino": str(openvino.__version__)}
        try:
            devices = tuple(openvino.Core().available_devices)
        except RuntimeError as error:
            return Availability(False, versions, reason=f"OpenVINO is installed but does not start: {error}")
        return Availability(True, versions, devices)

    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        # NNCF reports its use to its makers and writes to the home folder unless told that this is CI
        os.environ.setdefault("NNCF_CI", "1")
        try:
            from edgetl.backends.openvino.quantizer import quantize
        except ImportError as error:
            raise MissingDependencyError(error.name or "nncf", "quantize") from error
        quantize(model, calibration, recipe, target, keep_float, out)

    def build(self, model: Path, target: Target, folder: Path) -> str:
        openvino = _openvino()
        ir = folder / "model.xml"
        try:
            network = openvino.Core().read_model(model)
            network.reshape([target.batch, *list(network.input().partial_shape)[1:]])
            openvino.save_model(network, ir, compress_to_fp16=False)
        except RuntimeError as error:
            raise failed("build", model, error) from error
        stabilise_names(ir, model)
        return ir.name

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        _openvino()
        from edgetl.backends.openvino.session import OpenVinoSession

        return OpenVinoSession(engine, spec, throughput=throughput)


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError("openvino", "openvino") from error
    return openvino
