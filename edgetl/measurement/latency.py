"""Latency of engines side by side: interleaved rounds, and percentiles whose intervals can be believed."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.measurement.engine import Images, Runnable, as_batch, as_error
from edgetl.measurement.steady import MIN_TRACE, WarmUp, changed, oddities, warm_up
from edgetl.quantity import Quantity, student_t

Floats = npt.NDArray[np.float64]
Progress = Callable[[str, float], None]
"""Called between rounds: the engine just timed, the share of all work done (0..1)."""

SETTLING_SECONDS = 0.05
"""Pause between engines: onnxruntime's threads spin for 45 ms after a run, on the next one's processors."""

_LONGEST_ROUND = 4
"""Times ``round_seconds``: an engine that needs longer rounds for its samples gets more rounds instead."""

_RESAMPLES = 2000
_MIN_ROUNDS = 6  # with fewer, even the whole range of the rounds covers less than 95 %: 1 - 2 ** (1 - rounds)
_DRIFT = 0.05
_QUANTILES = (0.5, 0.9, 0.99, 0.25, 0.75)


@dataclass(frozen=True)
class LatencyOptions:
    """How long to measure. Seconds are wall-clock; ``max_seconds`` is per engine, without its warm-up."""

    rounds: int = 8
    round_seconds: float = 0.25
    min_samples: int = 700
    max_seconds: float = 20.0
    switch_runs: int = 5
    warmup_runs: int = MIN_TRACE
    warmup_seconds: float = 0.2
    max_warmup_seconds: float = 5.0

    def __post_init__(self) -> None:
        may_be_zero = {"switch_runs", "warmup_runs", "warmup_seconds"}
        if any(v < 0 or (v == 0 and k not in may_be_zero) for k, v in asdict(self).items()):
            raise InputError(f"latency: counts and durations must be positive, got {asdict(self)}")


@dataclass(frozen=True)
class Latency:
    """Time of one blocking ``run`` of one engine, milliseconds (``jitter`` is a ratio).

    ``p90`` and ``p99`` are None where the number of samples does not support them
    (:func:`min_samples_for`); ends of intervals are None below six rounds.

    Attributes:
        jitter: interquartile range divided by p50.
        first_ms: the very first run, before any warm-up.
        steady: the warm-up settled, and the two halves of the timed rounds are on the same level.
        samples_ms: at most 2,000 timed samples, evenly picked, in the order they were taken.
        round_p50_ms: the median of each round; index i of engines measured together is the same round.
        notes: what a reader must know before believing the figures, one sentence each.
    """

    p50: Quantity
    p90: Quantity | None
    p99: Quantity | None
    mean: Quantity
    maximum: Quantity
    jitter: Quantity
    first_ms: Quantity
    steady: bool
    warmup_runs: int
    n: int
    samples_ms: tuple[float, ...]
    round_p50_ms: tuple[float, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-ready values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def measure(
    engines: Mapping[str, Runnable],
    image: Images,
    options: LatencyOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Latency | EdgetlError]:
    """Times ``run(image)`` of all ``engines``, interleaved, so that a disturbance hits them alike.

    Every engine is warmed up until steady; then come rounds, in an order balanced for who follows whom.
    An engine leaves when it has its rounds and its samples, or has used up ``max_seconds``.

    Args:
        image: ``uint8 [H, W, 3]``, or a batch ``[N, H, W, 3]`` for engines of that batch size.

    Returns:
        In the order of ``engines``: the measurement, or the error of an engine that failed (one that
        is no EdgetlError is wrapped in a BackendError); a failure does not stop the others.

    Raises:
        InputError: if ``image`` is not such an array or there is no engine.
    """
    if not engines:
        raise InputError("latency: no engine to measure")
    batch = as_batch(image)
    jobs = [_Job(name, engine, batch, options or LatencyOptions()) for name, engine in engines.items()]
    collecting = gc.isenabled()
    gc.disable()
    try:
        _interleave(jobs, progress or (lambda name, share: None))
    finally:
        if collecting:
            gc.enable()
    return {job.name: job.result() for job in jobs}


def _interleave(jobs: Sequence[_Job], progress: Progress) -> None:
    for job in jobs:
        job.attempt(job.warm_up)
    for index in itertools.count():
        if all(job.share >= 1 for job in jobs):
            return
        for job in (jobs[i] for i in round_order(len(jobs), index) if jobs[i].share < 1):
            if len(jobs) > 1:
                time.sleep(SETTLING_SECONDS)
            job.attempt(job.time_round)
            progress(job.name, sum(j.share for j in jobs) / len(jobs))


def round_order(count: int, index: int) -> list[int]:
    """The order of ``count`` engines in round ``index``: every engine follows every other equally often.

    Williams' design (*Aust. J. Sci. Res.*, 1949), balanced over ``count`` rounds, ``2 * count`` if odd.
    """
    zigzag = [(i + 1) // 2 if i % 2 else (count - i // 2) % count for i in range(count)]
    order = [(i + index) % count for i in zigzag]
    return order[::-1] if count % 2 and (index // count) % 2 else order


class _Job:
    """One engine on its way through :func:`measure`."""

    def __init__(self, name: str, engine: Runnable, batch: Images, options: LatencyOptions) -> None:
        self.name, self.batch, self.options = name, batch, options
        self.run = engine.run
        self.warmed: WarmUp | None = None
        self.rounds: list[list[int]] = []
        self.seconds = 0.0
        self.round_seconds = self.options.round_seconds
        self.error: EdgetlError | None = None

    def attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self.error = as_error(self.name, error)

    def warm_up(self) -> None:
        def one_run() -> float:
            start = time.perf_counter_ns()
            self.run(self.batch)
            return (time.perf_counter_ns() - start) / 1e9

        o = self.options
        self.warmed = warm_up(one_run, o.warmup_runs, o.warmup_seconds, o.max_warmup_seconds)
        # Engines that need the same number of rounds take turns to the end, however slow they are.
        enough = 1.05 * float(np.median(self.warmed.samples)) * o.min_samples / o.rounds
        self.round_seconds *= min(max(1.0, enough / o.round_seconds), _LONGEST_ROUND)

    def time_round(self) -> None:
        """A few untimed runs to get this engine back into the caches, then timed ones for a round."""
        run, batch, clock = self.run, self.batch, time.perf_counter_ns
        length = int(self.round_seconds * 1e9)
        begin = clock()
        for _ in range(self.options.switch_runs):
            run(batch)
            if clock() - begin > length // 4:  # a slow engine cannot afford more, and needs it less
                break
        samples: list[int] = []
        deadline = clock() + length
        while True:
            start = clock()
            run(batch)
            stop = clock()
            samples.append(stop - start)
            if stop >= deadline:
                break
        self.rounds.append(samples)
        self.seconds += (clock() - begin) / 1e9

    @property
    def share(self) -> float:
        """Share of this engine's work that is done."""
        o, n = self.options, sum(map(len, self.rounds))
        needed = min(len(self.rounds) / o.rounds, n / o.min_samples)
        return 1.0 if self.error else min(1.0, max(needed, self.seconds / o.max_seconds))

    def result(self) -> Latency | EdgetlError:
        if self.error is not None or self.warmed is None:
            return self.error or BackendError(f"{self.name}: was not warmed up")
        # A coarse clock may say 0, of which no ratio can be made.
        return summarise([np.maximum(samples, 1) / 1e6 for samples in self.rounds], self.warmed)


def summarise(rounds: Sequence[Floats], warmed: WarmUp) -> Latency:
    """The figures of one engine from its timed ``rounds`` (milliseconds, in order) and its warm-up."""
    samples = np.concatenate(rounds)
    n = samples.size
    values = np.quantile(samples, _QUANTILES)
    resampled, means = _resample(rounds)
    p50, p90, p99 = (
        None if n < min_samples_for(q) else _quantity(values[i], resampled[:, i], len(rounds), n)
        for i, q in enumerate(_QUANTILES[:3])
    )
    spread = (resampled[:, 4] - resampled[:, 3]) / resampled[:, 0]
    notes = _notes(rounds, warmed)
    kept = np.linspace(0, n - 1, min(n, 2000)).round().astype(int)
    return Latency(
        p50=p50 or Quantity(float(values[0]), None, None, n),
        p90=p90,
        p99=p99,
        mean=_quantity(samples.mean(), means, len(rounds), n),
        maximum=Quantity(float(samples.max()), None, None, n),
        jitter=_quantity((values[4] - values[3]) / values[0], spread, len(rounds), n),
        first_ms=Quantity(warmed.samples[0] * 1e3, None, None, 1),
        steady=not any(note.startswith("not steady") for note in notes),
        warmup_runs=len(warmed.samples),
        n=n,
        samples_ms=tuple(samples[kept].tolist()),
        round_p50_ms=tuple(float(np.median(r)) for r in rounds),
        notes=tuple(notes),
    )


def _notes(rounds: Sequence[Floats], warmed: WarmUp) -> list[str]:
    notes = []
    if not warmed.steady:
        runs = len(warmed.samples)
        notes.append(f"not steady: the warm-up had not settled after {runs} runs, {warmed.seconds:.1f} s")
    half = (len(rounds) + 1) // 2
    a, b = np.concatenate(rounds[:half]), np.concatenate(rounds[-half:])
    if changed(a, b, _DRIFT):
        levels = f"{np.median(a):.3f} ms in the first half, {np.median(b):.3f} in the second"
        notes.append(f"not steady: p50 was {levels}")
    return notes + oddities(np.concatenate(rounds))


def min_samples_for(percentile: float, confidence: float = 0.99) -> int:
    """How many samples a percentile (0..1) needs: 662 for p99, 64 for p90, 11 for p50.

    MLPerf LoadGen's early-stopping rule (``loadgen/early_stopping.cc``): the smallest n for which one
    sample above the percentile in n proves, at ``confidence``, that the true percentile is not higher:
    P(Binomial(n, 1 - percentile) <= 1) <= 1 - confidence. Raises ValueError outside (0, 1).
    """
    if not (0 < percentile < 1 and 0 < confidence < 1):
        raise ValueError(f"percentile {percentile} at confidence {confidence}")
    n = 2
    while percentile ** (n - 1) * (n * (1 - percentile) + percentile) > 1 - confidence:
        n += 1
    return n


def paired_ratio(a: Latency, b: Latency) -> Quantity:
    """p50 of ``a`` over p50 of ``b`` (below 1: ``a`` is faster), paired by round; ``n`` = rounds paired.

    Both must come from one :func:`measure`. The value is the median of the rounds' ratios, which a few
    disturbed rounds cannot move; interval as in :func:`summarise`.
    """
    n = min(len(a.round_p50_ms), len(b.round_p50_ms))
    ratios = np.array(a.round_p50_ms[:n]) / np.array(b.round_p50_ms[:n])
    picks = np.random.default_rng(0).integers(0, n, (_RESAMPLES, n))
    return _quantity(float(np.median(ratios)), np.median(ratios[picks], axis=1), n, n)


def _resample(rounds: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Bootstrap over whole rounds: ``_QUANTILES`` ``[resamples, 5]`` and means ``[resamples]``.

    Samples of one round share clock, caches and neighbours, so they are autocorrelated: an interval
    that takes them for independent is far too narrow (Davison & Hinkley, 1997, 3.8).
    """
    sizes = np.array([r.size for r in rounds])
    ordered = np.sort(np.concatenate(rounds))
    grid = ordered[np.linspace(0, ordered.size - 1, min(ordered.size, 4000)).round().astype(int)]
    below = np.stack([np.searchsorted(np.sort(r), grid, "right") for r in rounds]).astype(np.float64)
    count = len(rounds)
    weights = np.random.default_rng(0).multinomial(count, [1 / count] * count, _RESAMPLES).astype(float)
    share = weights @ below / (weights @ sizes)[:, np.newaxis]
    quantiles = np.stack([grid[np.argmax(share >= q, axis=1)] for q in _QUANTILES], axis=1)
    return quantiles, weights @ np.array([r.sum() for r in rounds]) / (weights @ sizes)


def _quantity(value: float, resampled: Floats, rounds: int, n: int) -> Quantity:
    """``value`` with the expanded percentile interval (Hesterberg, *Am. Statistician*, 2015, 5.2).

    The plain percentile interval is too narrow for few rounds; this one is as wide as Student's t.
    """
    if rounds < _MIN_ROUNDS:
        return Quantity(float(value), None, None, n)
    tail = NormalDist().cdf(-sqrt(rounds / (rounds - 1)) * student_t(rounds - 1))
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Quantity(float(value), min(float(low), float(value)), max(float(high), float(value)), n)
