"""onnxruntime's static quantization in TensorRT's dialect, with Q/DQ where TensorRT fuses them.

TensorRT quantizes without zero points, adds biases in float, and computes in integers what reads
dequantized tensors: the inputs of convolutions and matrix products are quantized, never their outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from edgetl.backends.base import Calibration
from edgetl.backends.onnxruntime.quantizer import one_line_errors, static_qdq
from edgetl.backends.tensorrt.residual import fused_operands, release
from edgetl.errors import InputError
from edgetl.profiles import Recipe, Target

_ADDITION = "Add"
_OPERATORS = ("Conv", "Gemm", "MatMul", _ADDITION)


def quantize(
    model: Path,
    calibration: Calibration,
    recipe: Recipe,
    target: Target,
    keep_float: Sequence[str],
    out: Path,
) -> None:
    """Write an INT8 QDQ ONNX of ``model`` to ``out``: signed activations and weights, float biases.

    Where the output of a convolution is added to another tensor, that other tensor is quantized too.

    Args:
        target: not looked at; TensorRT's weights have eight bits.

    Raises:
        InputError: if the recipe asks for zero points.
        BackendError: if onnxruntime fails.
    """
    if recipe.activations == "asymmetric":
        raise InputError(
            f"recipe {recipe.name} asks for asymmetric activations, but TensorRT has no zero points; "
            "choose one with symmetric or auto"
        )
    with one_line_errors(model):
        source = onnx.load(model)
        _name_nodes(source.graph)
        fused = fused_operands(source.graph, keep_float)
        additions = {node.name for node in source.graph.node if node.op_type == _ADDITION}
        static_qdq(
            source,
            calibration,
            recipe,
            [*keep_float, *sorted(additions - fused.keys())],
            out,
            symmetric=True,
            operators=_OPERATORS,
            QuantizeBias=False,
            OpTypesToExcludeOutputQuantization=_OPERATORS,
        )
        quantized = onnx.load(out)
        release(quantized.graph, fused)
        out.write_bytes(quantized.SerializeToString(deterministic=True))


def _name_nodes(graph: onnx.GraphProto) -> None:
    """onnxruntime leaves nodes out by their name, which ONNX does not demand."""
    for index, node in enumerate(graph.node):
        node.name = node.name or f"edgetl/{node.op_type}_{index}"
