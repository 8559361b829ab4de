"""Rockchip's NPUs by RKNN-Toolkit2, which lives in an environment of its own: see ``edgetl.toolchains``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import (
    PORTABLE,
    Availability,
    Backend,
    Calibration,
    EngineSpec,
    Proof,
    Session,
    UInt8,
)
from edgetl.errors import BackendError, InputError, needs
from edgetl.toolchains import how_to_get, version
from edgetl.versions import version_of

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

_TOOLCHAIN = "rknn"
_TOOLKIT, _RUNTIME = "rknn-toolkit2", "rknn-toolkit-lite2"
_SIMULATOR = "simulator"
_SOCS = ("rk3588", "rk3576", "rk3568", "rk3566", "rk3562", "rv1126b", "rv1106", "rv1103")
"""What the toolkit compiles for and edgetl has tried."""
_PRECISIONS = ("int8", "f16")


class RknnBackend(Backend):
    """A target's ``device`` is its SoC."""

    name = "rknn"
    extra = ""
    bundle_options = frozenset({"soc"})
    int8_head = "all"
    quantizers = ("onnxruntime", "onnx")
    analyses = True

    def available(self) -> Availability:
        found = self.versions()
        devices = (_SIMULATOR,) if _TOOLKIT in found else ()
        if not found:
            return Availability(False, reason=f"RKNN-Toolkit2 is not installed; {how_to_get(_TOOLCHAIN)}")
        return Availability(True, found, devices)

    def versions(self) -> dict[str, str]:
        found = {_TOOLKIT: version(_TOOLCHAIN), _RUNTIME: version_of(_RUNTIME)}
        return {package: number for package, number in found.items() if number}

    def obstacle(self, target: Target) -> str | None:
        from edgetl.backends.rknn.board import obstacle_to

        return obstacle_to(target.device)

    def simulator(self, spec: EngineSpec) -> EngineSpec:
        """The toolkit's INT8 simulator, which compiles the portable model for the same SoC."""
        options = {"soc": spec.options.get("soc", spec.device)}
        return EngineSpec(self.name, PORTABLE, spec.precision, spec.float_precision, _SIMULATOR, options)

    def supports(self, model: Path, target: Target) -> list[str] | None:
        from edgetl.backends.rknn.toolkit import toolkit

        with toolkit() as child:
            refused = child.check(model, _soc(target), int8=target.precision == "int8")
        return [refused] if refused else []

    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        with needs("quantize", "onnxruntime"):
            from edgetl.backends.rknn.quantizer import quantize
        quantize(model, calibration, recipe, keep_float, out)

    def build(self, model: Path, target: Target, folder: Path) -> str:
        from edgetl.backends.rknn.compiled import ENGINE, read_layers, write_report
        from edgetl.backends.rknn.toolkit import toolkit

        soc = _soc(target)
        if target.precision not in _PRECISIONS:
            raise BackendError(
                f"Rockchip's NPUs compute in {' and '.join(_PRECISIONS)}, not in {target.precision}"
            )
        with toolkit() as child:
            answer = child.build(model, soc, folder / ENGINE)
        write_report(folder, read_layers(answer["report"]), answer["input"], version(_TOOLCHAIN) or "unknown")
        return ENGINE

    def proof(self, engine: Path, spec: EngineSpec) -> Proof | None:
        from edgetl.backends.rknn.compiled import read_proof

        return None if spec.device == _SIMULATOR else read_proof(engine, spec)

    def analyse(self, reference: Path, model: Path, target: Target, images: UInt8) -> Mapping[str, Any]:
        """As the base class says; the toolkit shows the errors of the first image."""
        from edgetl.backends.rknn.analysis import nodes_by_output, read_analysis
        from edgetl.backends.rknn.toolkit import toolkit

        with toolkit() as child:
            answer = child.analyse(reference, model, _soc(target), images)
        nodes, made_by = nodes_by_output(reference), version(_TOOLCHAIN) or "unknown"
        return read_analysis(answer["table"], answer["cosine"], made_by, len(images), nodes)

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        if not engine.is_file():
            raise BackendError(f"{engine.name} does not exist")
        if spec.device == _SIMULATOR:
            from edgetl.backends.rknn.session import SimulatorSession

            return SimulatorSession(engine, spec, throughput=throughput)
        from edgetl.backends.rknn.board import BoardSession, obstacle_to

        if reason := obstacle_to(spec.device):
            raise BackendError(f"{engine.name} can't be loaded: {reason}")
        return BoardSession(engine, spec)


def _soc(target: Target) -> str:
    """The SoC a target names.

    Raises:
        InputError: if it is none that edgetl knows, or there are build settings, of which there are none.
    """
    for table, settings in (("build", target.build), ("options", target.options)):
        if settings:
            unknown = sorted(settings)[0]
            raise InputError(
                f"target {target.name}: rknn knows no setting {unknown!r} in [{table}], and no other"
            )
    if target.device not in _SOCS:
        raise InputError(
            f"target {target.name}: rknn knows no device {target.device!r}; known: {', '.join(_SOCS)}"
        )
    return target.device
