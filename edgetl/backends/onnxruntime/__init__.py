"""onnxruntime: its static QDQ quantizer, ONNX engines, and whichever execution providers are installed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import (
    PORTABLE,
    Availability,
    Backend,
    Calibration,
    EngineSpec,
    Session,
    VendorTool,
)
from edgetl.device.gpu import gpus
from edgetl.errors import InputError, MissingDependencyError, needs

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

CPU = "CPUExecutionProvider"
NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
COMPILED = "model_ctx.onnx"


class OnnxRuntimeBackend(Backend):
    name = "onnxruntime"
    extra = "onnxruntime"
    spins = True
    bundle_options = frozenset(
        {
            "cudnn_conv_algo_search",
            "cudnn_conv_use_max_workspace",
            "device_id",
            "device_type",
            "disable_dynamic_shapes",
            "enable_cuda_graph",
            "intra_op_num_threads",
            "num_of_threads",
            "num_streams",
            "precision",
            "prefer_nhwc",
            "session.disable_cpu_ep_fallback",
            "session.disable_prepacking",
            "session.disable_quant_qdq",
            "session.enable_quant_qdq_cleanup",
            "session.inter_op.allow_spinning",
            "session.intra_op.allow_spinning",
            "session.qdqisint8allowed",
            "session.set_denormal_as_zero",
            "session.use_device_allocator_for_initializers",
            "trt_builder_optimization_level",
            "trt_cuda_graph_enable",
            "trt_fp16_enable",
            "trt_int8_enable",
            "use_tf32",
        }
    )
    quantizers = ("onnxruntime", "onnx")

    def available(self) -> Availability:
        try:
            import onnxruntime
        except ImportError as error:
            return Availability(False, reason=f"{error}; install it with: pip install 'edgetl[onnxruntime]'")
        providers = tuple(onnxruntime.get_available_providers())
        return Availability(True, {"onnxruntime": onnxruntime.__version__}, providers)

    def obstacle(self, target: Target) -> str | None:
        if target.device == CPU:
            return None
        found = self.available()
        if target.device not in found.devices:
            return f"onnxruntime has no {target.device} here; {target.name} runs on it"
        if target.device in NVIDIA and not gpus():
            return f"there is no NVIDIA GPU here; {target.name} runs on one"
        return None

    def simulator(self, spec: EngineSpec) -> EngineSpec | None:
        """The same model on the CPU, for every other provider."""
        return None if spec.device == CPU else replace(spec, device=CPU, options={})

    def supports(self, model: Path, target: Target) -> list[str]:
        try:
            from edgetl.backends.onnxruntime.support import refused
        except ImportError as error:
            raise MissingDependencyError("onnxruntime", "onnxruntime") from error
        precisions = (target.precision, target.float_precision)
        spec = EngineSpec(self.name, PORTABLE, *precisions, target.device, target.options)
        return refused(model, spec, self.obstacle(target))

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
            from edgetl.backends.onnxruntime.quantizer import quantize
        quantize(model, calibration, recipe, target, keep_float, out)

    def build_parts(self, target: Target) -> Mapping[str, Any]:
        return {"ep_context": self._keeps_context(target)}

    def build(self, model: Path, target: Target, folder: Path) -> str:
        """The model itself, or what its provider compiles of it.

        A target's ``ep_context = true`` asks for the latter, which only a machine that has the provider
        can make; everywhere else the model goes into the bundle and is compiled whenever it is loaded.
        """
        if not self._keeps_context(target):
            shutil.copyfile(model, folder / PORTABLE)
            return PORTABLE
        from edgetl.backends.onnxruntime.context_model import compile_context

        precisions = (target.precision, target.float_precision)
        spec = EngineSpec(self.name, COMPILED, *precisions, target.device, target.options)
        compile_context(model, spec, folder / COMPILED)
        return COMPILED

    def _keeps_context(self, target: Target) -> bool:
        if unknown := sorted(set(target.build) - {"ep_context"}):
            raise InputError(
                f"target {target.name}: onnxruntime knows no build setting {unknown[0]!r}; known: ep_context"
            )
        asked = target.build.get("ep_context", False)
        if not isinstance(asked, bool):
            raise InputError(f"target {target.name}: build setting ep_context must be true or false")
        return asked and self.obstacle(target) is None

    def vendor_tool(self, engine: Path, spec: EngineSpec, seconds: float) -> VendorTool:
        try:
            from edgetl.backends.onnxruntime.vendor import plain_loop
        except ImportError as error:
            raise MissingDependencyError("onnxruntime", "onnxruntime") from error
        return plain_loop(engine, spec, seconds)

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        try:
            from edgetl.backends.onnxruntime.session import OnnxRuntimeSession
        except ImportError as error:
            raise MissingDependencyError("onnxruntime", "onnxruntime") from error
        return OnnxRuntimeSession(engine, spec, throughput=throughput)
