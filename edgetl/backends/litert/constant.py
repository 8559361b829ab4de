"""A tensor whose numbers are known, quantized or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Constant:
    """``value`` is ``stored``, or ``scale * (stored - zero)`` where it has a scale.

    Attributes:
        scale: one, or one an index of ``axis``; None where the tensor is not quantized.
        zero: as many, or one.
    """

    stored: npt.NDArray[Any]
    scale: npt.NDArray[np.float64] | None = None
    zero: npt.NDArray[np.int64] | None = None
    axis: int = 0

    @property
    def quantized(self) -> bool:
        return self.scale is not None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @cached_property
    def value(self) -> npt.NDArray[Any]:
        """The real numbers; in double precision where they are computed, which a 32-bit bias takes."""
        if self.scale is None:
            return self.stored
        integers = self.stored.astype(np.float64)
        if self.zero is not None:
            integers -= self._spread(self.zero, self.axis)
        real: npt.NDArray[Any] = integers * self._spread(self.scale, self.axis)
        return real

    def symmetric(self, axis: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        """Integers from -127 to 127 and a scale for each index of ``axis``, as TFLite wants weights."""
        length = self.shape[axis]
        if self.scale is not None and self._fits(self.scale, axis):
            return self.stored, np.broadcast_to(self.scale, length)
        others = tuple(index for index in range(self.stored.ndim) if index != axis)
        largest = np.abs(self.value).max(others).astype(np.float64)
        scale = np.where(largest > 0, largest, 127) / 127
        integers = np.rint(self.value / self._spread(scale, axis))
        return np.clip(integers, -127, 127).astype(np.int8), scale

    def _fits(self, scale: npt.NDArray[np.float64], axis: int) -> bool:
        """Whether the integers are what TFLite wants already."""
        one_each = scale.size == 1 or (self.axis == axis and scale.size == self.shape[axis])
        signed = self.stored.dtype == np.int8 and (self.zero is None or not self.zero.any())
        return one_each and signed and int(self.stored.min(initial=0)) >= -127

    def _spread(self, values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
        """Along an axis, for arithmetic with the whole."""
        if values.size == 1:
            return values.reshape(())
        return values.reshape([-1 if index == axis else 1 for index in range(self.stored.ndim)])
