"""Throughput: inferences a second with as many in flight as the engine likes."""

from __future__ import annotations

import math
import statistics
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

from edgetl.errors import BackendError, InputError
from edgetl.measurement.engine import Images, Logits, Runnable, as_batch, as_error
from edgetl.quantity import Quantity, student_t


def measure_throughput(
    engine: Runnable,
    image: Images,
    seconds: float = 2.0,
    stretches: int = 6,
    warmup_seconds: float = 0.5,
) -> Quantity:
    """Images a second that ``engine.run_many`` gets through while it is kept full.

    Time runs from the first result to the first one after ``seconds``, while batches are handed out all
    the time: neither filling nor draining the pipeline is in it. The value is the rate over all of it, the
    interval Student's t over its ``stretches``, ``n`` the number of images.

    An engine too slow to return two batches in that time has the rate of the whole call, and no interval.

    Args:
        image: ``uint8 [H, W, 3]``, or a batch ``[N, H, W, 3]`` for an engine of that batch size.

    Raises:
        InputError: if the image or the durations make no sense.
        BackendError: if the engine fails, or does not return every batch exactly once.
    """
    if seconds <= 0 or stretches < 1 or warmup_seconds < 0:
        raise InputError(
            f"throughput: {seconds} s in {stretches} stretches after {warmup_seconds} s of warm-up"
        )
    batch = as_batch(image)
    try:
        _Flow(batch, warmup_seconds).through(engine)
        flow = _Flow(batch, seconds)
        elapsed = flow.through(engine)
    except Exception as error:
        raise as_error("throughput", error)  # noqa: B904 - it keeps its own cause
    rate = _rate(flow.times, seconds, stretches)
    rate = rate or Quantity(len(flow.times) / elapsed, None, None, len(flow.times))
    low, high = (None if end is None else end * len(batch) for end in (rate.low, rate.high))
    return Quantity(rate.value * len(batch), low, high, rate.n * len(batch))


def _rate(times: list[float], seconds: float, stretches: int) -> Quantity | None:
    """Batches a second between the first results after the ends of equal stretches; None of one result.

    Both ends of a stretch are results, so that results that come several at once bias nothing.
    """
    ends = (times[0] + seconds * index / stretches for index in range(stretches + 1))
    marks = sorted({bisect_left(times, end) for end in ends} - {len(times)})
    if len(marks) < 2:
        return None
    first, last = marks[0], marks[-1]
    value = (last - first) / (times[last] - times[first])
    rates = [(after - before) / (times[after] - times[before]) for before, after in pairwise(marks)]
    if len(rates) < 2:
        return Quantity(value, None, None, last - first)
    half = student_t(len(rates) - 1) * statistics.stdev(rates) / math.sqrt(len(rates))
    return Quantity(value, max(0.0, value - half), value + half, last - first)


class _Flow:
    """One call of ``run_many`` that hands out batches until ``seconds`` after the first result.

    Attributes:
        times: when results came, ascending once the call is over.
    """

    def __init__(self, batch: Images, seconds: float) -> None:
        self._batch, self._seconds = batch, seconds
        self._deadline = 0.0
        self._handed_out = 0
        self._returned: list[tuple[float, int]] = []  # list.append is atomic, so any thread may consume
        self.times: list[float] = []

    def through(self, engine: Runnable) -> float:
        """Seconds that the call took."""
        start = time.perf_counter()
        self._deadline = start + self._seconds  # of an engine that takes all it is given before it computes
        engine.run_many(self._batches(), self._consume)
        elapsed = time.perf_counter() - start
        self._check()
        self.times = sorted(moment for moment, _ in self._returned)
        return elapsed

    def _batches(self) -> Iterator[Images]:
        while True:
            self._handed_out += 1
            yield self._batch
            if time.perf_counter() >= self._deadline:
                return

    def _consume(self, index: int, output: Logits) -> None:
        now = time.perf_counter()
        if not self._returned:
            self._deadline = now + self._seconds
        self._returned.append((now, index))

    def _check(self) -> None:
        indices = sorted(index for _, index in self._returned)
        if indices != list(range(self._handed_out)):
            raise BackendError(
                f"throughput: the engine was given {self._handed_out} batches and returned {len(indices)} "
                f"({len(set(indices))} different); each must come back once, by its index from 0"
            )
