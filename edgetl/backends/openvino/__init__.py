"""OpenVINO: NNCF's quantizer, IR engines, and the CPU, GPU, NPU and AUTO plugins."""

from __future__ import annotations

import os
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
    VendorTool,
    failed,
)
from edgetl.backends.openvino.devices import (
    CPU,
    NPU,
    family,
    has_vnni,
    obstacle,
    openvino,
    require_one_device,
)
from edgetl.backends.openvino.made import keep, read_proof
from edgetl.backends.openvino.stable_names import stabilise_names
from edgetl.errors import needs

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target


class OpenVinoBackend(Backend):
    name = "openvino"
    extra = "openvino"
    bundle_options = frozenset(
        {
            "DYNAMIC_QUANTIZATION_GROUP_SIZE",
            "ENABLE_CPU_PINNING",
            "ENABLE_HYPER_THREADING",
            "EXECUTION_MODE_HINT",
            "INFERENCE_NUM_THREADS",
            "INFERENCE_PRECISION_HINT",
            "LP_TRANSFORMS_MODE",
            "MODEL_PRIORITY",
            "NPU_TURBO",
            "NUM_STREAMS",
            "PERFORMANCE_HINT",
            "PERFORMANCE_HINT_NUM_REQUESTS",
            "SCHEDULING_CORE_TYPE",
            "allow_fallback",
        }
    )
    quantizers = ("nncf", "onnx", "onnxruntime")
    float_reference = ("openvino", "CPU")

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

    def obstacle(self, target: Target) -> str | None:
        return obstacle(target)

    def simulator(self, spec: EngineSpec) -> EngineSpec | None:
        """The IR on the CPU, with float32 in what is not quantized.

        A CPU without VNNI adds INT8 products in 16 bits, which overflow as no GPU's or NPU's do: there
        onnxruntime computes the Q/DQ model as it is written. (The CPU plugin, asked for that by
        LP_TRANSFORMS_MODE, gave wrong outputs in 8 of 40 loads for throughput with OpenVINO 2026.4.1.)
        """
        from edgetl.backends.openvino.npu import simulated_file

        if spec.device == CPU:
            return None
        precisions = (spec.precision, "f32")
        if spec.precision == "int8" and not has_vnni():
            options = {"session.disable_quant_qdq": "1"}
            return EngineSpec("onnxruntime", PORTABLE, *precisions, "CPUExecutionProvider", options)
        return EngineSpec(self.name, simulated_file(spec.file), *precisions, CPU)

    def supports(self, model: Path, target: Target) -> list[str]:
        from edgetl.backends.openvino.support import refused

        return refused(model, target)

    def build_parts(self, target: Target) -> Mapping[str, Any]:
        from edgetl.backends.openvino.npu import compiler_version, platform

        generation = platform(target)
        if family(target.device) != NPU:
            return {}
        return {"npu_platform": generation, "npu_compiler": compiler_version()}

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
        with needs("quantize", "nncf"):
            from edgetl.backends.openvino.quantizer import quantize
        quantize(model, calibration, recipe, target, keep_float, out)

    def build(self, model: Path, target: Target, folder: Path) -> str:
        """An IR; for an NPU whose compiler is at hand, what that makes of it, with the IR beside it."""
        require_one_device(target.device, target.options)
        package, ir = openvino(), folder / "model.xml"
        try:
            network = package.Core().read_model(model)
            network.reshape([target.batch, *list(network.input().partial_shape)[1:]])
            package.save_model(network, ir, compress_to_fp16=False)
        except RuntimeError as error:
            raise failed("build", model, error) from error
        stabilise_names(ir, model)
        if family(target.device) == NPU:
            from edgetl.backends.openvino.npu import build

            return build(ir, target, folder)
        if target.device != CPU:
            keep(folder, f"not compiled: the driver of the {target.device} does that when the IR is loaded")
        return ir.name

    def proof(self, engine: Path, spec: EngineSpec) -> Proof | None:
        return read_proof(engine)

    def vendor_tool(self, engine: Path, spec: EngineSpec, seconds: float) -> VendorTool:
        openvino()
        from edgetl.backends.openvino.vendor import benchmark_app

        return benchmark_app(engine, spec, seconds)

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        openvino()
        from edgetl.backends.openvino.session import OpenVinoSession

        return OpenVinoSession(engine, spec, throughput=throughput)
