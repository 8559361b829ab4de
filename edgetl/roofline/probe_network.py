"""The network that peaks are measured with: convolutions of 256 channels, and next to nothing else.

3x3 on 28x28 pixels: of the sizes tried on x86 it reaches most operations a second in OpenVINO and in
onnxruntime, and its activations (200 KB in 8 bits) stay in a core's caches.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgetl.errors import needs
from edgetl.measurement.probe import ProbeNetwork

if TYPE_CHECKING:
    import onnx

SIDE = 28
CHANNELS = 256
DEPTH = 6
_KERNEL = 3
_OPSET = 17
_IR = 9
_PIXEL_SPREAD = 147.0
"""Root of the mean square of evenly distributed pixels."""
_SCALE = 6 / 255
"""Of activations, whose mean square is 1 in every layer."""


def write_probe(folder: Path, side: int = SIDE) -> ProbeNetwork:
    """Write both networks into an existing folder; the same bytes every time.

    Args:
        side: pixels; a fast accelerator takes more of them to be busy.

    Raises:
        MissingDependencyError: if onnx is not installed.
    """
    with needs("quantize", "onnx"):
        import onnx
    paths = folder / "probe_int8.onnx", folder / "probe_float.onnx"
    for path, quantized in zip(paths, (True, False), strict=True):
        onnx.save(_Builder(quantized).model(side), path)
    pixels = side * side
    macs = pixels * CHANNELS * 3 + DEPTH * pixels * CHANNELS**2 * _KERNEL**2
    return ProbeNetwork(*paths, macs, side)


class _Builder:
    """Adds nodes one after the other; ``quantized``: with Q/DQ around the convolutions."""

    def __init__(self, quantized: bool) -> None:
        self._quantized = quantized
        self._random = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []

    def model(self, side: int) -> onnx.ModelProto:
        from onnx import TensorProto, checker, helper

        pixels = self._node("Cast", ["images"], "pixels", to=TensorProto.FLOAT)
        tensor = self._node("Transpose", [pixels], "layout", perm=[0, 3, 1, 2])
        tensor = self._rounded(tensor, 1.0)  # pixels are integers already
        tensor = self._convolution(tensor, "stem", (CHANNELS, 3, 1, 1), _PIXEL_SPREAD)
        for index in range(DEPTH):
            tensor = self._convolution(tensor, f"conv{index}", (CHANNELS, CHANNELS, _KERNEL, _KERNEL))
        tensor = self._node("GlobalAveragePool", [tensor], "pool")
        self._node("Flatten", [tensor], "features", axis=1)
        graph = helper.make_graph(
            self._nodes,
            "probe",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, side, side, 3])],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, CHANNELS])],
            self._tensors,
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR, producer_name="edgetl")
        checker.check_model(model, full_check=True)
        return model

    def _convolution(
        self, tensor: str, name: str, shape: tuple[int, int, int, int], spread: float = 1.0
    ) -> str:
        """A convolution with Relu that gives activations of a mean square of 1 for inputs of ``spread``."""
        weight = self._random.normal(0, 1, shape).astype(np.float32)
        weight *= (2 / np.prod(shape[1:])) ** 0.5 / spread
        padding = [shape[-1] // 2] * 4
        tensor = self._node("Conv", [tensor, self._weight(f"{name}_weight", weight)], name, pads=padding)
        return self._rounded(self._node("Relu", [tensor], f"{name}_relu"), _SCALE)

    def _weight(self, name: str, weight: npt.NDArray[np.float32]) -> str:
        """A weight ``[M, C, k, k]``, in 8 bits a channel where quantized."""
        if not self._quantized:
            return self._constant(name, weight)
        scale = np.abs(weight).max((1, 2, 3)) / 127
        integers = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
        parts = [
            self._constant(f"{name}_int8", integers),
            self._constant(f"{name}_scale", scale.astype(np.float32)),
            self._constant(f"{name}_zero", np.zeros(len(scale), np.int8)),
        ]
        return self._node("DequantizeLinear", parts, name, axis=0)

    def _rounded(self, tensor: str, scale: float) -> str:
        """Activations, not negative, in 8 bits where quantized."""
        if not self._quantized:
            return tensor
        step = self._constant(f"{tensor}_scale", np.asarray(scale, np.float32))
        zero = self._constant(f"{tensor}_zero", np.asarray(0, np.uint8))
        integers = self._node("QuantizeLinear", [tensor, step, zero], f"{tensor}_int8")
        return self._node("DequantizeLinear", [integers, step, zero], f"{tensor}_rounded")

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._tensors.append(numpy_helper.from_array(values, name))
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output
