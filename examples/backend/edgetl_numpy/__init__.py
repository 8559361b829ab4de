"""An edgetl backend in one small package: engines are steps and constants in an ``.npz``, run by NumPy.

Convolutions and matrix products whose operands were quantized are summed in integers.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import PORTABLE, Availability, Backend, Calibration, EngineSpec, Session
from edgetl.errors import BackendError, MissingDependencyError
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

ENGINE = "model.npz"
DEVICE = "cpu"
FORMAT = 1
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "auto_pad": (b"NOTSET",),
    "dilations": ([1, 1],),
    "kernel_shape": ([1, 1], [3, 3], [5, 5], [7, 7]),
    "alpha": (1.0,),
    "beta": (1.0,),
    "transA": (0,),
    "to": (1,),  # float32
}
"""Values of attributes that change nothing; others are refused."""


class NumpyBackend(Backend):
    name = "numpy"
    extra = "quantize"
    quantizers = ("onnxruntime", "onnx")

    def available(self) -> Availability:
        return Availability(True, self.versions(), (DEVICE,))

    def versions(self) -> dict[str, str]:
        """They go into the keys of engines: this package's own, and that of what computes."""
        found = versions("edgetl-numpy", "numpy")
        return {name: version for name, version in found.items() if version}

    def build_parts(self, target: Target) -> Mapping[str, Any]:
        return {"format": FORMAT}

    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        """onnxruntime's Q/DQ suits; a toolchain of its own would write the same kind of ONNX here."""
        get_backend("onnxruntime").quantize(model, calibration, recipe, target, keep_float, out)

    def stand_in(self, spec: EngineSpec) -> EngineSpec:
        """A quantized ONNX is no engine of this backend: onnxruntime computes the features of the refit."""
        return EngineSpec(
            "onnxruntime", PORTABLE, spec.precision, spec.float_precision, "CPUExecutionProvider"
        )

    def supports(self, model: Path, target: Target) -> list[str] | None:
        return _steps(model)[1]

    def build(self, model: Path, target: Target, folder: Path) -> str:
        program, refused = _steps(model)
        if refused:
            raise BackendError(f"cannot build {model.name}: {refused[0]}")
        constants = program.pop("constants")
        np.savez(folder / ENGINE, program=np.array(json.dumps(program)), **constants)
        return ENGINE

    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        from edgetl_numpy.session import NumpySession

        if spec.device != DEVICE:
            raise BackendError(f"there is no device {spec.device!r}; NumPy runs on {DEVICE!r}")
        try:
            with np.load(engine, allow_pickle=False) as arrays:
                program = json.loads(str(arrays["program"]))
                constants = {name: arrays[name] for name in program["names"]}
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            TypeError,
            AttributeError,
            zipfile.BadZipFile,
        ) as error:
            raise BackendError(f"{engine.name} is no engine of the NumPy backend: {error}") from error
        return NumpySession(engine, spec, program, constants)


def _steps(model: Path) -> tuple[dict[str, Any], list[str]]:
    """The program of an ONNX, with its constants, and a line for each node that it can't have.

    Raises:
        BackendError: if the file is no ONNX.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError("onnx", "quantize") from error
    from edgetl_numpy.operators import OPERATORS

    try:
        graph = onnx.load(model).graph
    except Exception as error:  # protobuf's error, which has no stable name
        raise BackendError(f"{model.name} is no ONNX: {' '.join(str(error).split())}") from error
    refused = [f"node {node.name}: {why}" for node in graph.node if (why := _refusal(node, OPERATORS))]
    names = {tensor.name: f"c{index}" for index, tensor in enumerate(graph.initializer)}
    steps = [
        {
            "operator": node.op_type,
            "inputs": [names.get(name, name) for name in node.input],
            "output": node.output[0],
            "attributes": {
                item.name: onnx.helper.get_attribute_value(item)
                for item in node.attribute
                if item.name not in _ONLY
            },
        }
        for node in graph.node
    ]
    pixels = graph.input[0]
    program = {
        "steps": steps,
        "names": sorted(names.values()),
        "input": pixels.name,
        "shape": [size.dim_value for size in pixels.type.tensor_type.shape.dim],
        "type": onnx.TensorProto.DataType.Name(pixels.type.tensor_type.elem_type).lower(),
        "output": graph.output[0].name,
        "constants": {names[tensor.name]: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer},
    }
    return program, refused


def _refusal(node: Any, known: Collection[str]) -> str | None:
    """Why an ONNX node can't be a step; None if it can."""
    from onnx.helper import get_attribute_value

    if node.op_type not in known or node.domain not in ("", "ai.onnx"):
        return f"operator {node.op_type} is none of {', '.join(known)}"
    for item in node.attribute:
        value = get_attribute_value(item)
        if item.name in _ONLY and value not in _ONLY[item.name]:
            return f"{node.op_type} with {item.name} = {value}"
    return None
