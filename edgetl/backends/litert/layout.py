"""NCHW to NHWC, and what TFLite's two paddings can express."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.backends.litert.graph import Refusal

_AXES = {2: (0, 1), 4: (0, 2, 3, 1)}


def nhwc(shape: Sequence[int]) -> tuple[int, ...]:
    """A tensor's shape in TFLite's order.

    Raises:
        Refusal: if it has neither two nor four dimensions.
    """
    if len(shape) not in _AXES:
        raise Refusal(f"a tensor of {len(shape)} dimensions; only 2 and 4 (images) are known")
    return tuple(shape[axis] for axis in _AXES[len(shape)])


def axis_nhwc(axis: int, rank: int) -> int:
    """Where an ONNX axis is in TFLite's order."""
    if rank not in _AXES:
        raise Refusal(f"a tensor of {rank} dimensions; only 2 and 4 (images) are known")
    return _AXES[rank].index(axis % rank)


def constant_nhwc(value: npt.NDArray[Any], rank: int) -> npt.NDArray[Any]:
    """A constant that is broadcast to a tensor of ``rank`` dimensions."""
    if value.ndim > rank or rank not in _AXES:
        raise Refusal(f"a constant of {value.ndim} dimensions beside a tensor of {rank}")
    full = value.reshape((1,) * (rank - value.ndim) + value.shape)
    return full.transpose(_AXES[rank])


@dataclass(frozen=True)
class Window:
    """How a kernel slides over height and width.

    Attributes:
        before: rows and columns of padding before the image, ``after`` behind it.
        same: whether TFLite's SAME pads in just that way.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    same: bool

    @property
    def padded(self) -> bool:
        """Whether the image needs explicit padding."""
        return not self.same and any(self.before + self.after)


PIXEL = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0), same=False)


def window(
    attributes: Mapping[str, Any],
    kernel: Sequence[int],
    source: Sequence[int],
    result: Sequence[int],
) -> Window:
    """TFLite's form of an ONNX window.

    Args:
        source: height and width of the input; ``result`` those of the output.
    """
    stride = attributes.get("strides", (1, 1))
    dilation = attributes.get("dilations", (1, 1))
    pads = attributes.get("pads", (0, 0, 0, 0))
    mode = attributes.get("auto_pad", b"NOTSET").decode()
    before, after, same = [], [], []
    for axis in (0, 1):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        # what the last window needs beyond the end: less than the pads where they don't make one window more
        total = (result[axis] - 1) * stride[axis] + reach - source[axis]
        first = pads[axis]
        if mode != "NOTSET":
            first = 0 if mode == "VALID" else (max(total, 0) + (mode == "SAME_LOWER")) // 2
        before.append(first)
        after.append(max(total - first, 0))
        fits = result[axis] == -(-source[axis] // stride[axis])
        same.append(fits and first == max(total, 0) // 2)
    return Window(
        kernel=(kernel[0], kernel[1]),
        stride=(stride[0], stride[1]),
        dilation=(dilation[0], dilation[1]),
        before=(before[0], before[1]),
        after=(after[0], after[1]),
        same=all(same) and any(before + after),
    )


def flatten_rows(weights: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Columns of ``[outputs, C*H*W]`` weights in the order of a flattened NHWC tensor of ONNX ``shape``."""
    _, channels, height, width = shape
    order = np.arange(channels * height * width).reshape(channels, height, width).transpose(1, 2, 0)
    return weights[:, order.reshape(-1)]
