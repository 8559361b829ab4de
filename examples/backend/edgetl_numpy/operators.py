"""The operators an engine is made of. Dequantized tensors stay integers until an operator needs floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Quantized:
    """``scale * integers``; integers are int32 with the zero point taken off, scale is broadcast on them."""

    integers: Array
    scale: Array

    def floats(self) -> Array:
        return np.asarray(self.scale * self.integers, np.float32)


Value = Array | Quantized


def floats(value: Value) -> Array:
    return value.floats() if isinstance(value, Quantized) else value


def in_integers(inputs: list[Value]) -> bool:
    """Whether a product of these is summed in integers."""
    return all(isinstance(value, Quantized) for value in inputs[:2])


def quantize(inputs: list[Value], axis: int = 1) -> Array:
    scale, zero = floats(inputs[1]), floats(inputs[2])
    limits = np.iinfo(zero.dtype)
    rounded = np.rint(floats(inputs[0]) / scale) + zero.astype(np.int32)
    return np.asarray(rounded.clip(limits.min, limits.max), zero.dtype)


def dequantize(inputs: list[Value], axis: int = 1) -> Quantized:
    integers = floats(inputs[0]).astype(np.int32)
    scale = floats(inputs[1])
    zero = floats(inputs[2]).astype(np.int32) if len(inputs) > 2 else np.int32(0)
    if scale.ndim and scale.size > 1:
        shape = [-1 if index == axis else 1 for index in range(integers.ndim)]
        scale, zero = scale.reshape(shape), np.reshape(zero, shape)
    return Quantized(integers - zero, scale)


def convolve(
    inputs: list[Value],
    pads: tuple[int, ...] = (0, 0, 0, 0),
    strides: tuple[int, ...] = (1, 1),
    group: int = 1,
) -> Array:
    image, kernel, scale = _operands(inputs)
    top, left, bottom, right = pads
    image = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
    count, channels, height, width = kernel.shape
    windows = sliding_window_view(image, (height, width), axis=(2, 3))[:, :, :: strides[0], :: strides[1]]
    grouped = windows.reshape(len(image), group, channels, *windows.shape[2:])
    kernels = kernel.reshape(group, count // group, channels, height, width)
    sums = np.einsum("ngchwij,gocij->ngohw", grouped, kernels, optimize=True)
    sums = sums.reshape(len(image), count, *sums.shape[3:])
    bias = floats(inputs[2]).reshape(1, -1, 1, 1) if len(inputs) > 2 else 0
    return np.asarray(sums * _by_channel(scale, 4) + bias, np.float32)


def multiply(inputs: list[Value], transB: int = 0) -> Array:
    features, weight, scale = _operands(inputs)
    product = features @ (weight.T if transB else weight)
    bias = floats(inputs[2]) if len(inputs) > 2 else 0
    return np.asarray(product * _by_channel(scale, 2) + bias, np.float32)


def _operands(inputs: list[Value]) -> tuple[Array, Array, Array]:
    """Integers and the scale of their product, or floats and one."""
    first, second = inputs[:2]
    if isinstance(first, Quantized) and isinstance(second, Quantized):
        return first.integers, second.integers, first.scale * second.scale.reshape(-1)
    return floats(first), floats(second), np.ones(1, np.float32)


def _by_channel(scale: Array, dimensions: int) -> Array:
    return scale.reshape(1, -1, *[1] * (dimensions - 2))


OPERATORS: dict[str, Callable[..., Value]] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "Conv": convolve,
    "Gemm": multiply,
    "Cast": lambda inputs: floats(inputs[0]).astype(np.float32),
    "Transpose": lambda inputs, perm: floats(inputs[0]).transpose(perm),
    "Sub": lambda inputs: floats(inputs[0]) - floats(inputs[1]),
    "Div": lambda inputs: floats(inputs[0]) / floats(inputs[1]),
    "Add": lambda inputs: floats(inputs[0]) + floats(inputs[1]),
    "Relu": lambda inputs: np.maximum(floats(inputs[0]), 0),
    "GlobalAveragePool": lambda inputs: floats(inputs[0]).mean((2, 3), keepdims=True),
    "Flatten": lambda inputs, axis=1: floats(inputs[0]).reshape(len(floats(inputs[0])), -1),
}
"""By their ONNX name; each takes the inputs' values and the node's attributes."""
