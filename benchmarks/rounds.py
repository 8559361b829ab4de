"""Two ways of doing the same, measured in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple


class Rounds(NamedTuple):
    """Figures of two measurements, index by index of the same round."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """Median of ours over median of theirs."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def ratios(self) -> list[float]:
        return [our / their for our, their in zip(self.ours, self.theirs, strict=True)]


def alternate(ours: Callable[[], float], theirs: Callable[[], float], count: int) -> Rounds:
    """Measure both ``count`` times; who comes first changes with each round."""
    figures = Rounds([], [])
    for number in range(count):
        pairs = [(figures.ours, ours), (figures.theirs, theirs)]
        for found, measure in pairs[:: 1 if number % 2 == 0 else -1]:
            found.append(measure())
    return figures
