"""How often an engine runs while its runtime takes the times of its layers."""

from __future__ import annotations

import time
from collections.abc import Callable

WARM_UP = 3
RUNS = 30
SECONDS = 2.0
"""Runs of a slow engine end here, be they fewer."""


def warm_up(infer: Callable[[], object]) -> int:
    """The inferences that are not counted; returns how many, one at least."""
    return _repeat(infer, WARM_UP, SECONDS / 4)


def profiled_runs(infer: Callable[[], object]) -> int:
    """The inferences that are counted; returns how many, one at least."""
    return _repeat(infer, RUNS, SECONDS)


def _repeat(infer: Callable[[], object], most: int, seconds: float) -> int:
    end, count = time.monotonic() + seconds, 0
    while count == 0 or (count < most and time.monotonic() < end):
        infer()
        count += 1
    return count
