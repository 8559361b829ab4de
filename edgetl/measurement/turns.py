"""Two engines in turns of a few runs each: the ratio of their latencies where neither can be timed alone.

A machine's clock and neighbours change within a second. Turns of a quarter of a second leave 7 to 8 % of
it in the ratio of an engine to itself, turns of four runs 0.2 to 0.6 %.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgetl.measurement.engine import Images, Runnable, as_batch, as_error
from edgetl.measurement.repeats import over_repeats
from edgetl.progress import Advance
from edgetl.quantity import Quantity

_RUNS = 4
_WARM_UP = 40
_FEWEST_PAIRS = 8
_FEWEST_WARM_UPS = 3


@dataclass(frozen=True)
class Turns:
    """New over base.

    Attributes:
        ratio: geometric mean over the launches, ``n`` of them, with Student's t interval.
        launches: the median over the pairs of turns, of each launch.
    """

    ratio: Quantity
    launches: tuple[float, ...]


def in_turns(
    base: Callable[[], Runnable],
    new: Callable[[], Runnable],
    image: Images,
    launches: int = 10,
    pairs: int = 40,
    pause: float = 0.0,
    longest: float = 6.0,
    advance: Advance = lambda done, total: None,
) -> Turns:
    """Time both in turns; each launch loads both afresh, so that memory layout is part of the interval.

    Args:
        base: loads the engine that is compared with; ``new`` likewise.
        image: ``uint8 [H, W, 3]``, or a batch ``[N, H, W, 3]`` for engines of that batch size.
        pairs: of turns in a launch.
        pause: seconds before each turn, for engines whose threads spin on after a run.
        longest: seconds after which a launch has enough of pairs, if it has eight.
        advance: told launches done and to do.

    Raises:
        EdgetlError: if an engine can't be loaded, or fails.
    """
    batch = as_batch(image)
    found = []
    for index in range(launches):
        advance(index, launches)
        try:
            found.append(_launch(base, new, batch, _Plan(pairs, pause, longest, bool(index % 2))))
        except Exception as error:
            raise as_error("in turns", error)  # noqa: B904 - it keeps its own cause
    return Turns(over_repeats(found), tuple(found))


@dataclass(frozen=True)
class _Plan:
    pairs: int
    pause: float
    longest: float
    swapped: bool


def _launch(base: Callable[[], Runnable], new: Callable[[], Runnable], batch: Images, plan: _Plan) -> float:
    # Which is loaded first may decide where its weights lie.
    if plan.swapped:
        second, first = new(), base()
    else:
        first, second = base(), new()
    _warm_up((first, second), batch, plan.longest / 4)
    collecting = gc.isenabled()
    gc.disable()
    try:
        ratios = list(_ratios(first, second, batch, plan))
    finally:
        if collecting:
            gc.enable()
    return float(np.exp(np.median(np.log(ratios))))


def _warm_up(engines: tuple[Runnable, ...], batch: Images, longest: float) -> None:
    deadline = time.perf_counter() + longest
    for index in range(_WARM_UP):
        if index >= _FEWEST_WARM_UPS and time.perf_counter() > deadline:
            return
        for engine in engines:
            engine.run(batch)


def _ratios(base: Runnable, new: Runnable, batch: Images, plan: _Plan) -> Iterator[float]:
    deadline = time.perf_counter() + plan.longest
    for index in range(plan.pairs):
        if index >= _FEWEST_PAIRS and time.perf_counter() > deadline:
            return
        yield _pair(base, new, batch, plan.pause, new_first=bool(index % 2))


def _pair(base: Runnable, new: Runnable, batch: Images, pause: float, new_first: bool) -> float:
    if new_first:
        after = _turn(new, batch, pause)
        return after / _turn(base, batch, pause)
    before = _turn(base, batch, pause)
    return _turn(new, batch, pause) / before


def _turn(engine: Runnable, batch: Images, pause: float) -> float:
    """Median nanoseconds of a run; one untimed run first brings the engine back into the caches."""
    clock = time.perf_counter_ns
    time.sleep(pause)
    engine.run(batch)
    samples = []
    for _ in range(_RUNS):
        start = clock()
        engine.run(batch)
        samples.append(max(1, clock() - start))
    return float(np.median(samples))
