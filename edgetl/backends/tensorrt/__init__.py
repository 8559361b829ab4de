"""TensorRT for Jetson and GPU servers, and TensorRT for RTX: one backend class, two modules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import (
    Availability,
    Backend,
    Calibration,
    EngineSpec,
    Proof,
    Session,
    VendorTool,
)
from edgetl.backends.tensorrt.binding import load_binding
from edgetl.backends.tensorrt.key import BUILD, read_key, require_header, require_usable
from edgetl.backends.tensorrt.settings import BuildSettings, device_index
from edgetl.device.gpu import gpus
from edgetl.errors import BackendError, EdgetlError, needs

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

PLAN = "plan.json"


class TensorRtBackend(Backend):
    """Full TensorRT: engines are built where the GPU is."""

    name = "tensorrt"
    extra = "tensorrt"
    bundle_options = frozenset({"contexts", "cuda_graph"})
    dialect = "tensorrt"
    int8_head = "inputs"
    quantizers = ("onnxruntime", "onnx")

    def available(self) -> Availability:
        try:
            binding = load_binding(self.name)
        except EdgetlError as error:
            return Availability(False, reason=f"{error}{self._where_from()}")
        return Availability(True, {self.name: binding.version}, tuple(gpu["name"] for gpu in _gpus()))

    def _where_from(self) -> str:
        return "; its libraries come with JetPack or from NVIDIA's own package index"

    def obstacle(self, target: Target) -> str | None:
        wanted = " or ".join(target.compute_capabilities)
        found = _gpus()
        if not found:
            return f"there is no NVIDIA GPU here; {target.name} needs one of compute capability {wanted}"
        if found[0]["compute_capability"] not in target.compute_capabilities:
            has = f"{found[0]['name']} has {found[0]['compute_capability']}"
            return f"{has}; {target.name} needs compute capability {wanted}"
        return self.available().reason

    def simulator(self, spec: EngineSpec) -> EngineSpec:
        """The Q/DQ model in onnxruntime on the CPU, each node computed as it is written.

        With the fusion of Q/DQ nodes off, convolutions see rounded weights and inputs and sum in float32,
        which is TensorRT's arithmetic up to the order of the sums.
        """
        options = {"session.disable_quant_qdq": "1"}
        return EngineSpec(
            "onnxruntime", "model.onnx", spec.precision, spec.float_precision, "CPUExecutionProvider", options
        )

    def supports(self, model: Path, target: Target) -> list[str]:
        from edgetl.backends.tensorrt.support import refused

        return refused(self.name, model, BuildSettings.of(target))

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
            from edgetl.backends.tensorrt.quantizer import quantize
        quantize(model, calibration, recipe, target, keep_float, out)

    def prepare(self, model: Path, target: Target, out: Path) -> None:
        from edgetl.backends.operators import read_onnx
        from edgetl.backends.tensorrt.casts import prepare
        from edgetl.backends.tensorrt.dialect import require

        require(read_onnx(model), model)
        precision = target.precision if target.precision != "int8" else target.float_precision
        prepare(model, precision, out)

    def simulation(self, model: Path, out: Path) -> None:
        from edgetl.backends.tensorrt.widen import write_widened

        write_widened(model, out)

    def replays(self, spec: EngineSpec) -> bool:
        """Not in bfloat16, for which onnxruntime has no convolution on the CPU."""
        return (spec.float_precision if spec.precision == "int8" else spec.precision) != "bf16"

    def build_parts(self, target: Target) -> Mapping[str, Any]:
        gpu = _gpus()[:1] if target.made == "on-device" else []
        return {"settings": BuildSettings.of(target).to_dict(), "gpu": list(gpu)}

    def build(self, model: Path, target: Target, folder: Path) -> str:
        from edgetl.backends.tensorrt.demands import read_demands
        from edgetl.backends.tensorrt.make import make_engine

        demands = read_demands(model)
        precision = (target.precision, target.float_precision)
        return make_engine(
            load_binding(self.name), model, BuildSettings.of(target), demands, precision, folder
        )

    def plan(self, model: Path, target: Target, folder: Path) -> str:
        from edgetl.backends.tensorrt.plan import write_plan

        return write_plan(self.name, model, target, folder / PLAN)

    def rebuild(self, model: Path, former: Path, spec: EngineSpec, folder: Path) -> str:
        from edgetl.backends.tensorrt.plan import build_from

        recorded = former if former.name == PLAN else former.parent / BUILD
        return build_from(load_binding(self.name), model, recorded, spec, folder)

    def proof(self, engine: Path, spec: EngineSpec) -> Proof | None:
        from edgetl.backends.tensorrt.make import read_proof
        from edgetl.backends.tensorrt.plan import summary_of

        if engine.name == PLAN:
            return Proof(None, None, summary_of(json.loads(engine.read_text())))
        return read_proof(engine)

    def vendor_tool(self, engine: Path, spec: EngineSpec, seconds: float) -> VendorTool | None:
        from edgetl.backends.tensorrt.vendor import trtexec

        return trtexec(engine, spec, seconds, self.available().versions.get(self.name))

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        if engine.name == PLAN:
            raise BackendError(
                "this bundle holds a build plan, the engine is not built yet; "
                "build it on the device with: edgetl build BUNDLE"
            )
        if not engine.is_file():
            raise BackendError(f"{engine.name} does not exist")
        binding = load_binding(self.name)
        index = device_index(spec.device)
        require_header(engine, self.name, binding.version)
        if key := read_key(engine):
            require_usable(engine, key, binding.version, _gpus(), index)
        from edgetl.backends.tensorrt.session import TensorRtSession

        return TensorRtSession(engine, spec, binding, throughput=throughput)


class TensorRtRtxBackend(TensorRtBackend):
    """TensorRT for RTX: engines for named GPU generations are built anywhere, without a GPU."""

    name = "tensorrt-rtx"
    extra = "tensorrt-rtx"

    def _where_from(self) -> str:
        return ""

    def vendor_tool(self, engine: Path, spec: EngineSpec, seconds: float) -> None:
        """None: what ``tensorrt_rtx`` prints was never seen here."""


def _gpus() -> Sequence[Mapping[str, Any]]:
    return [asdict(gpu) for gpu in gpus()]


__all__ = ["PLAN", "TensorRtBackend", "TensorRtRtxBackend"]
