"""A number that carries its kind, its sample size and its interval.

Every figure edgetl prints or writes is a :class:`Quantity`; a bare float is for internal use only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any, Literal

Kind = Literal["measured", "simulated", "estimated"]

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Quantity:
    """A value with a 95 % interval.

    ``low`` and ``high`` are None where an interval makes no sense (a file size) or where ``n`` does
    not support one.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    kind: Kind = "measured"

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n, "kind": self.kind}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Quantity:
        return cls(data["value"], data["low"], data["high"], data["n"], data["kind"])

    def scaled(self, factor: float) -> Quantity:
        """The same quantity in another unit; ``factor`` must be positive."""
        low = None if self.low is None else self.low * factor
        high = None if self.high is None else self.high * factor
        return Quantity(self.value * factor, low, high, self.n, self.kind)


def proportion(successes: int, n: int, kind: Kind = "measured") -> Quantity:
    """A share of ``n`` trials with Wilson's score interval (Wilson, 1927), which stays in [0, 1].

    Raises:
        ValueError: if ``n`` is not positive or ``successes`` is outside ``[0, n]``.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"proportion of {successes} in {n}")
    p = successes / n
    denominator = 1 + Z95**2 / n
    centre = (p + Z95**2 / (2 * n)) / denominator
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n)) / denominator
    return Quantity(p, max(0.0, centre - half), min(1.0, centre + half), n, kind)


def quantile(sorted_samples: Sequence[float], q: float, kind: Kind = "measured") -> Quantity:
    """The ``q`` quantile of sorted samples with a distribution-free 95 % interval.

    The interval is made of order statistics whose ranks follow from the binomial distribution of the
    number of samples below the quantile (normal approximation; David & Nagaraja, *Order Statistics*,
    2003, 7.1). Where ``n`` is too small for an end of the interval to exist, that end is None.

    Raises:
        ValueError: if there are no samples or ``q`` is outside (0, 1).
    """
    n = len(sorted_samples)
    if n == 0 or not 0 < q < 1:
        raise ValueError(f"quantile {q} of {n} samples")
    position = q * (n - 1)
    below = math.floor(position)
    above = min(below + 1, n - 1)
    value = sorted_samples[below] + (position - below) * (sorted_samples[above] - sorted_samples[below])
    half = Z95 * math.sqrt(n * q * (1 - q))
    low_rank = math.floor(n * q - half) - 1
    high_rank = math.ceil(n * q + half)
    low = sorted_samples[low_rank] if low_rank >= 0 else None
    high = sorted_samples[high_rank] if high_rank < n else None
    return Quantity(value, low, high, n, kind)


def normal_quantile(confidence: float = 0.95) -> float:
    """Two-sided quantile of the standard normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


@cache
def student_t(degrees: int, confidence: float = 0.95) -> float:
    """Two-sided quantile of Student's t, by bisection of its distribution.

    Raises:
        ValueError: if there is no degree of freedom, or ``confidence`` is outside (0, 1).
    """
    if degrees < 1 or not 0 < confidence < 1:
        raise ValueError(f"Student's t with {degrees} degrees of freedom at {confidence}")
    below, above = 0.0, math.pi / 2
    for _ in range(60):
        middle = (below + above) / 2
        below, above = (middle, above) if _within(middle, degrees) < confidence else (below, middle)
    return math.sqrt(degrees) * math.tan(below)


def _within(angle: float, degrees: int) -> float:
    """P(|t| < sqrt(degrees) tan(angle)) (Abramowitz & Stegun, 1964, 26.7.3 and 26.7.4)."""
    odd = degrees % 2
    term = total = math.cos(angle) if odd else 1.0
    for k in range(2 + odd, degrees, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    if degrees == 1:
        return 2 * angle / math.pi
    return 2 * (angle + math.sin(angle) * total) / math.pi if odd else math.sin(angle) * total
