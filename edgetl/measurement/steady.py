"""What a trace of timings looks like: settled, on another level, two-moded; and warm-up until settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOLERANCE = 0.03
"""Relative change of the median below which two stretches of a trace count as equal."""

_Z99 = 2.5758293035489004
_WINDOWS = 10
_TAIL_WINDOWS = 3
# Five against five is the smallest comparison in which the rank test can reject at 1 %.
_MIN_WINDOW = 5
MIN_TRACE = _TAIL_WINDOWS * _MIN_WINDOW
"""Length of the shortest trace that can be called steady."""

Trace = Sequence[float] | npt.NDArray[np.float64]


def changed(before: Trace, after: Trace, tolerance: float = TOLERANCE) -> bool:
    """Whether the level of ``after`` differs from that of ``before``.

    It does if the medians differ by more than ``tolerance`` (relative) *and* a two-sided rank test
    (Mann & Whitney, 1947, normal approximation) rejects at 1 %. The test alone would call any
    autocorrelated trace changed, the tolerance alone any noisy one.
    """
    a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    reference = float(np.median(a))
    if abs(float(np.median(b)) - reference) <= tolerance * reference:
        return False
    ordered = np.sort(a)
    wins = np.searchsorted(ordered, b, "left") + np.searchsorted(ordered, b, "right")
    product = a.size * b.size
    deviation = abs(float(wins.sum()) / 2 - product / 2)
    return deviation > _Z99 * math.sqrt(product * (a.size + b.size + 1) / 12)


def steady_index(samples: Trace, tolerance: float = TOLERANCE) -> int | None:
    """Where the steady tail of ``samples`` (any positive unit) begins; None if the end is not steady.

    The trace is cut into up to ten equal windows. The tail grows backwards from the last window as
    long as a window's level equals that of the *last* one (so a slow drift adds up instead of hiding
    between neighbours); it is steady if it spans at least three windows. What does not fill a window
    at the beginning is not judged.
    """
    trace = np.asarray(samples, dtype=np.float64)
    if trace.size < MIN_TRACE:
        return None
    window = max(_MIN_WINDOW, trace.size // _WINDOWS)
    last = trace[-window:]
    start = trace.size - window
    while start >= window and not changed(last, trace[start - window : start], tolerance):
        start -= window
    if trace.size - start < _TAIL_WINDOWS * window:
        return None
    return start


def two_modes(samples: Trace) -> tuple[float, float, float] | None:
    """(lower mode, upper mode, share of the upper) of a bimodal sample; None if it is not.

    The best split in two (Otsu, 1979) must explain 85 % of the variance (it explains 64 % of a normal
    distribution and 75 % of a uniform one), with medians 10 % apart and 10 % of the samples on either
    side. The slowest 2 % are left out: they are outliers, not a mode.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    ordered = ordered[: math.ceil(ordered.size * 0.98)]
    n, total, variance = ordered.size, float(ordered.sum()), float(ordered.var())
    if n < 20 or variance == 0:
        return None
    left = np.arange(1, n)
    gap = (total - np.cumsum(ordered)[:-1]) / (n - left) - np.cumsum(ordered)[:-1] / left
    explained = left * (n - left) / n**2 * gap**2 / variance
    split = int(np.argmax(explained)) + 1
    low, high = float(np.median(ordered[:split])), float(np.median(ordered[split:]))
    share = 1 - split / n
    if explained[split - 1] < 0.85 or high < 1.1 * low or not 0.1 <= share <= 0.9:
        return None
    return low, high, share


def oddities(samples: Trace) -> list[str]:
    """What keeps the percentiles of ``samples`` (milliseconds) from telling the story, one note each."""
    trace = np.asarray(samples, dtype=np.float64)
    notes = []
    modes = two_modes(trace)
    if modes is not None:
        low, high, share = modes
        notes.append(f"bimodal: {1 - share:.0%} of runs near {low:.3f} ms, {share:.0%} near {high:.3f} ms")
    slow = int((trace > 10 * np.median(trace)).sum())
    if slow:
        notes.append(f"outliers: {slow} of {trace.size} runs ({slow / trace.size:.2%}) took over 10x p50")
    return notes


@dataclass(frozen=True)
class WarmUp:
    """How a warm-up went: seconds of each run in order, and whether they settled."""

    samples: tuple[float, ...]
    steady: bool

    @property
    def seconds(self) -> float:
        return math.fsum(self.samples)


def warm_up(
    sample: Callable[[], float],
    min_runs: int = MIN_TRACE,
    min_seconds: float = 0.2,
    max_seconds: float = 5.0,
) -> WarmUp:
    """Calls ``sample`` (one run; returns its seconds) until its timings are steady.

    At least ``min_runs`` runs and ``min_seconds``, at most about ``max_seconds`` of run time: the cap
    wins over the floors, but there are always two runs, because the first one is special.
    """
    samples: list[float] = []
    elapsed = 0.0
    next_check = max(min_runs, MIN_TRACE)
    while True:
        samples.append(sample())
        elapsed += samples[-1]
        if len(samples) >= next_check and elapsed >= min_seconds:
            if steady_index(samples) is not None:
                return WarmUp(tuple(samples), True)
            # Geometric spacing keeps the cost of checking linear in the number of runs.
            next_check = len(samples) + max(_MIN_WINDOW, len(samples) // 4)
        if elapsed >= max_seconds and len(samples) >= 2:
            return WarmUp(tuple(samples), steady_index(samples) is not None)
