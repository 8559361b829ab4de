"""Arm Ethos-U: LiteRT's quantizer and converter, and Vela, the accelerator's compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import Availability, Backend, Calibration, EngineSpec, Proof, Session
from edgetl.backends.ethosu.build import ENGINE, INTEGER
from edgetl.backends.ethosu.report import read_proof
from edgetl.backends.ethosu.settings import VelaSettings
from edgetl.backends.litert import DEVICE, LiteRtBackend
from edgetl.errors import BackendError, InputError, MissingDependencyError, needs
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

SIMULATOR = "LiteRT"
"""Device name of what answers for an engine."""

_VELA = "ethos-u-vela"


class EthosUBackend(Backend):
    """Engines for a microcontroller's accelerator: compiled anywhere, loaded by firmware alone."""

    name = "ethosu"
    extra = "ethosu"
    bundle_options = frozenset()
    int8_head = "all"
    companions = (INTEGER, "*.c", "*.h")
    quantizers = LiteRtBackend.quantizers

    def available(self) -> Availability:
        try:
            import ethosu.vela  # noqa: F401
        except ImportError:
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
        return EngineSpec(self.name, INTEGER, spec.precision, spec.float_precision, SIMULATOR)

    def stand_in(self, spec: EngineSpec) -> EngineSpec:
        """LiteRT, on the ONNX as it converts it: the same integers up to the output."""
        return EngineSpec("litert", spec.file, spec.precision, spec.float_precision, DEVICE)

    def supports(self, model: Path, target: Target) -> list[str]:
        from edgetl.backends.ethosu.support import refused_operators

        with needs("ethosu", _VELA):
            return refused_operators(model, target)

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
        from edgetl.backends.ethosu.settings import VelaSettings

        if keep_float and not VelaSettings.of(target).allow_cpu:
            raise InputError(
                f"target {target.name}: an Ethos-U computes in integers only, {keep_float[0]!r} can't stay "
                "in float; empty keep_float, or set allow_cpu = true in the target's build table"
            )
        LiteRtBackend().quantize(model, calibration, recipe, target, keep_float, out)

    def build(self, model: Path, target: Target, folder: Path) -> str:
        from edgetl.backends.ethosu.build import make_engine

        with needs("ethosu", _VELA):
            return make_engine(model, target, folder, versions(_VELA)[_VELA] or "unknown")

    def proof(self, engine: Path, spec: EngineSpec) -> Proof | None:
        return read_proof(engine, spec.precision)

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        """The simulator's session; an engine itself is for firmware.

        Raises:
            BackendError: if asked for an engine itself, or the integer model can't be loaded.
        """
        if spec.device != SIMULATOR:
            raise BackendError(
                f"{engine.name} runs on an Ethos-U alone: give it to TensorFlow Lite Micro with the ethos-u "
                f"operator and Arm's ethos-u core driver (edgetl runs {INTEGER} in LiteRT instead)"
            )
        with needs("ethosu", _VELA):
            from edgetl.backends.ethosu.session import IntegerSession

            return IntegerSession(engine, spec)


__all__ = ["ENGINE", "INTEGER", "SIMULATOR", "EthosUBackend"]
