"""Arm Ethos-U: LiteRT's quantizer and converter, and Vela, the accelerator's compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import Availability, Backend, Calibration, EngineSpec, Proof, Session
from edgetl.backends.ethosu.report import read_proof
from edgetl.backends.ethosu.settings import VelaSettings
from edgetl.backends.litert import DEVICE, LiteRtBackend
from edgetl.errors import BackendError, MissingDependencyError
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

ENGINE = "model_vela.tflite"
"""What Vela makes of ``INTEGER``, under the name its own command line gives."""

INTEGER = "model.tflite"
"""The integer model before Vela, which LiteRT runs too."""

LITERT = "LiteRT"
"""Device name of the simulator."""

_VELA = "ethos-u-vela"


class EthosUBackend(Backend):
    """Engines for a microcontroller's accelerator: compiled anywhere, loaded by firmware alone."""

    name = "ethosu"
    extra = "ethosu"
    int8_head = "all"
    quantizers = LiteRtBackend.quantizers

    def available(self) -> Availability:
        if util.find_spec("ethosu") is None:
            return Availability(False, reason=str(MissingDependencyError(_VELA, self.extra)))
        beside = LiteRtBackend().available()
        return Availability(beside.ok, self.versions(), reason=beside.reason)

    def versions(self) -> dict[str, str]:
        own = {name: version for name, version in versions(_VELA).items() if version}
        return {**own, **LiteRtBackend().versions()}

    def obstacle(self, target: Target) -> str:
        return f"{target.name} is an accelerator of microcontrollers: firmware loads its engines, no computer"

    def simulator(self, spec: EngineSpec) -> EngineSpec:
        """LiteRT, on the integer model that Vela compiled."""
        return EngineSpec(self.name, INTEGER, spec.precision, spec.float_precision, LITERT)

    def stand_in(self, spec: EngineSpec) -> EngineSpec:
        """LiteRT, on the ONNX as it converts it: the same integers up to the output."""
        return EngineSpec("litert", spec.file, spec.precision, spec.float_precision, DEVICE)

    def supports(self, model: Path, target: Target) -> list[str]:
        return _building(self.extra).refused_operators(model, target)

    def build_parts(self, target: Target) -> Mapping[str, Any]:
        return VelaSettings.of(target).to_dict()

    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        LiteRtBackend().quantize(model, calibration, recipe, target, keep_float, out)
