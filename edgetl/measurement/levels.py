"""Where the level of a trace changes: ranks and medians, no model of the noise."""

from __future__ import annotations

import math

import numpy as np

from edgetl.measurement.steady import TOLERANCE, Trace, changed

_MIN_LEVEL = 5
_ALPHA = 0.01


def level_changes(values: Trace, tolerance: float = TOLERANCE) -> list[int]:
    """Indices at which a new level begins, rising; empty where there is one level.

    Pettitt's test (*Applied Statistics*, 1979), which allows for the best of all places being looked at,
    splits the trace in two at 1 %, and then each part (binary segmentation). Afterwards neighbours that are
    not :func:`~edgetl.measurement.steady.changed` by ``tolerance`` become one again, and each change is moved
    to where two medians fit its neighbours best. A level has at least five values; a steady drift comes out
    as some steps.
    """
    trace = np.asarray(values, dtype=np.float64)
    edges = [0, *_splits(trace, 0), trace.size]
    index = 1
    while index < len(edges) - 1:
        before, after = trace[edges[index - 1] : edges[index]], trace[edges[index] : edges[index + 1]]
        if changed(before, after, tolerance):
            index += 1
        else:
            del edges[index]
            index = max(1, index - 1)
    # Ranks tell best that there is a change; what two medians leave over tells best where.
    for index in range(1, len(edges) - 1):
        begin, end = edges[index - 1], edges[index + 1]
        edges[index] = begin + _best_split(trace[begin:end])
    return edges[1:-1]


def _splits(trace: np.ndarray, offset: int) -> list[int]:
    n = trace.size
    if n < 2 * _MIN_LEVEL:
        return []
    # U(t) of the first t values against the rest is 2 * (sum of their ranks) - t * (n + 1), ties halved.
    ordered = np.sort(trace)
    ranks = (np.searchsorted(ordered, trace, "left") + np.searchsorted(ordered, trace, "right") + 1) / 2
    lengths = np.arange(1, n)
    statistic = np.abs(2 * np.cumsum(ranks)[:-1] - lengths * (n + 1))
    if 2 * math.exp(-6 * float(statistic.max()) ** 2 / (n**3 + n**2)) > _ALPHA:
        return []
    allowed = slice(_MIN_LEVEL - 1, n - _MIN_LEVEL)
    split = int(np.argmax(statistic[allowed])) + _MIN_LEVEL
    return [*_splits(trace[:split], offset), offset + split, *_splits(trace[split:], offset + split)]


def _best_split(trace: np.ndarray) -> int:
    places = range(_MIN_LEVEL, trace.size - _MIN_LEVEL + 1)
    return min(places, key=lambda place: _left_over(trace[:place]) + _left_over(trace[place:]))


def _left_over(level: np.ndarray) -> float:
    return float(np.abs(level - np.median(level)).sum())
