"""uint8 pixels as the quantized tensor that they are: not every HTP has the floats to make one of them.

The contract's prefix ``Cast, Transpose, Sub, Div`` becomes ``DequantizeLinear, Transpose``. Where mean and
std are the same for the three channels, scale and zero point of the pixels say it all; else a convolution of
each channel with one weight follows, which the HTP runs in integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends.onnxruntime.integer_input import (
    drop_unused,
    float_constant,
    follow,
)
from edgetl.contract.onnx_prefix import INPUT

_PREFIX = ("Cast", "Transpose", "Sub", "Div")
_WEIGHT = "edgetl_normalise_weight"
_BIAS = "edgetl_normalise_bias"
_PIXELS = "edgetl/pixels"
_ONE = "edgetl_pixel_scale"
_NOTHING = "edgetl_pixel_zero_point"


@dataclass(frozen=True)
class PixelRanges:
    """How the quantizer treats the prefix.

    Attributes:
        overrides: scale and zero point by tensor, in the form of onnxruntime's ``TensorQuantOverrides``.
        keep_float: nodes that :func:`start_from_pixels` removes afterwards.
    """

    overrides: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    keep_float: Sequence[str] = ()


def fix_pixel_ranges(model: onnx.ModelProto) -> PixelRanges:
    """Ranges of the pixels, which need no images; the normalisation becomes a convolution where it must.

    Args:
        model: float; changed in place.
    """
    graph = model.graph
    chain = follow(graph, INPUT, _PREFIX)
    if chain is None:
        return PixelRanges()
    cast, transpose, subtract, divide = chain
    mean, deviation = float_constant(graph, subtract.input[1]), float_constant(graph, divide.input[1])
    if mean is None or deviation is None:
        return PixelRanges()
    zero_point = round(float(mean.flat[0]))
    if not np.ptp(mean) and not np.ptp(deviation) and 0 <= zero_point <= 255:
        scale = 1 / float(deviation.flat[0])
        return PixelRanges(
            {divide.output[0]: _override(scale, zero_point)}, [node.name for node in chain if node.name]
        )
    _convolve(graph, subtract, divide, mean, deviation)
    return PixelRanges({transpose.output[0]: _override(1.0, 0)}, [cast.name, transpose.name])


def _override(scale: float, zero_point: int) -> list[dict[str, Any]]:
    from onnxruntime.quantization import QuantType

    return [
        {
            "quant_type": QuantType.QUInt8,
            "scale": np.asarray(scale, np.float32),
            "zero_point": np.asarray(zero_point, np.uint8),
        }
    ]


def _convolve(
    graph: onnx.GraphProto,
    subtract: onnx.NodeProto,
    divide: onnx.NodeProto,
    mean: np.ndarray,
    deviation: np.ndarray,
) -> None:
    """``(x - mean) / std`` as a convolution with one weight for each channel."""
    channels = np.broadcast_to(1 / deviation.astype(np.float64), (1, 3, 1, 1)).reshape(3, 1, 1, 1)
    bias = -np.broadcast_to(mean / deviation.astype(np.float64), (1, 3, 1, 1)).reshape(3)
    graph.initializer.extend(
        [
            numpy_helper.from_array(channels.astype(np.float32), _WEIGHT),
            numpy_helper.from_array(bias.astype(np.float32), _BIAS),
        ]
    )
    subtract.CopyFrom(
        helper.make_node(
            "Conv",
            [subtract.input[0], _WEIGHT, _BIAS],
            [divide.output[0]],
            name="edgetl/normalise",
            group=3,
            kernel_shape=[1, 1],
        )
    )
    graph.node.remove(divide)
    drop_unused(graph)


def start_from_pixels(model: onnx.ModelProto) -> None:
    """Rewrite the prefix to begin with ``DequantizeLinear`` instead of ``Cast``, in place.

    ``Cast, Transpose, (Sub, Div,) Quantize`` becomes ``Dequantize, Transpose, Quantize``. Before anything
    else, a dequantization by one takes the place of the ``Cast``, which the HTP accepts and gets wrong: in
    the emulation of QNN 2.51 the float tensor has little to do with the pixels.
    """
    graph = model.graph
    chain = follow(graph, INPUT, (*_PREFIX, "QuantizeLinear")) or follow(
        graph, INPUT, ("Cast", "Transpose", "QuantizeLinear")
    )
    if chain is None or not _is_unsigned(graph, chain[-1]):
        _dequantize_by_one(graph)
        return
    transpose, quantize = chain[1], chain[-1]
    gone = {id(node) for node in chain}
    kept = [node for node in graph.node if id(node) not in gone]
    floats, turned = chain[0].output[0], transpose.output[0]
    pixels = helper.make_node("DequantizeLinear", [INPUT, *quantize.input[1:]], [floats], name=_PIXELS)
    layout = helper.make_node("Transpose", [floats], [turned], name=transpose.name, perm=[0, 3, 1, 2])
    again = helper.make_node(
        "QuantizeLinear", [turned, *quantize.input[1:]], [quantize.output[0]], name=quantize.name
    )
    stale = {name for node in chain for name in node.output}
    values = [value for value in graph.value_info if value.name not in stale]
    del graph.node[:], graph.value_info[:]
    graph.node.extend([pixels, layout, again, *kept])
    graph.value_info.extend(values)
    drop_unused(graph)


def _is_unsigned(graph: onnx.GraphProto, quantize: onnx.NodeProto) -> bool:
    zero = next((tensor for tensor in graph.initializer if tensor.name in quantize.input[2:]), None)
    return zero is not None and zero.data_type == TensorProto.UINT8


def _dequantize_by_one(graph: onnx.GraphProto) -> None:
    chain = follow(graph, INPUT, ("Cast",))
    if chain is None:
        return
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.asarray(1, np.float32), _ONE),
            numpy_helper.from_array(np.asarray(0, np.uint8), _NOTHING),
        ]
    )
    cast = chain[0]
    cast.CopyFrom(helper.make_node("DequantizeLinear", [INPUT, _ONE, _NOTHING], cast.output, name=_PIXELS))
