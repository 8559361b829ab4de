"""Throughput: inferences a second with as many in flight as the engine likes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator

from edgetl.errors import BackendError, InputError
from edgetl.measurement.engine import Images, Logits, Runnable, as_batch, as_error
from edgetl.quantity import Z95, Quantity

# 97.5 % quantiles of Student's t for 1..30 degrees of freedom.
_T95 = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)


def student_t95(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t (beyond 30 degrees by its first Cornish-Fisher terms)."""
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    return Z95 + (Z95**3 + Z95) / (4 * degrees)


def measure_throughput(
    engine: Runnable,
    image: Images,
    seconds: float = 2.0,
    repeats: int = 6,
    warmup_seconds: float = 0.5,
) -> Quantity:
    """Images a second that ``engine.run_many`` gets through, over ``repeats`` stretches, ``seconds`` in all.

    A stretch hands out batches for its time and ends when the last one is back, so filling and
    draining the pipeline count. The value is the mean of the stretches, the interval Student's t over
    them, ``n`` the number of images in all.

    Args:
        image: ``uint8 [H, W, 3]``, or a batch ``[N, H, W, 3]`` for an engine of that batch size.

    Raises:
        InputError: if the image or the durations make no sense.
        BackendError: if the engine fails, or does not return every batch exactly once.
    """
    if seconds <= 0 or repeats < 1 or warmup_seconds < 0:
        raise InputError(f"throughput: {seconds} s in {repeats} parts after {warmup_seconds} s of warm-up")
    batch = as_batch(image)
    try:
        _stretch(engine, batch, warmup_seconds)
        stretches = [_stretch(engine, batch, seconds / repeats) for _ in range(repeats)]
    except Exception as error:
        raise as_error("throughput", error)  # noqa: B904 - it keeps its own cause
    rates = [batches * len(batch) / elapsed for batches, elapsed in stretches]
    n = sum(batches for batches, _ in stretches) * len(batch)
    mean = statistics.fmean(rates)
    if repeats == 1:
        return Quantity(mean, None, None, n)
    half = student_t95(repeats - 1) * statistics.stdev(rates) / math.sqrt(repeats)
    return Quantity(mean, max(0.0, mean - half), mean + half, n)


def _stretch(engine: Runnable, batch: Images, seconds: float) -> tuple[int, float]:
    """(batches done, seconds taken) of one stretch; always at least one batch."""
    handed_out = 0
    returned: list[int] = []  # list.append is atomic, so any thread may consume

    def batches() -> Iterator[Images]:
        nonlocal handed_out
        while True:
            handed_out += 1
            yield batch
            if time.perf_counter() >= deadline:
                return

    def consume(index: int, output: Logits) -> None:
        returned.append(index)

    start = time.perf_counter()
    deadline = start + seconds
    engine.run_many(batches(), consume)
    elapsed = time.perf_counter() - start
    if sorted(returned) != list(range(handed_out)):
        raise BackendError(
            f"throughput: the engine was given {handed_out} batches and returned {len(returned)} "
            f"({len(set(returned))} different); each must come back once, by its index from 0"
        )
    return handed_out, elapsed
