"""What edgetl itself adds to an inference while it measures latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.goal import Goal
from benchmarks.rounds import alternate
from benchmarks.settings import Settings
from edgetl.backends.base import Consume, Float32, Placement, Precision, Session, UInt8
from edgetl.errors import EdgetlError
from edgetl.measurement.latency import LatencyOptions, measure

AREA = "device"
_LIMIT_US = 20.0
_LOOPS = 100_000
_IMAGE = np.zeros((1, 224, 224, 3), np.uint8)


class Nothing(Session):
    """An engine that takes no time, behind the checks that every session makes."""

    input_shape = (224, 224, 3)

    def __init__(self) -> None:
        self._output = np.zeros((1, 10), np.float32)

    def _run(self, images: UInt8) -> Float32:
        return self._output

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        for index, images in enumerate(batches):
            consume(index, self.run(images))

    def precision(self) -> Precision:
        raise NotImplementedError

    def placement(self) -> Placement:
        raise NotImplementedError


def goals(settings: Settings) -> Iterator[Goal]:
    rounds = 3 if settings.quick else 8
    settings.say(f"{rounds} rounds of an engine that does nothing")
    engine = Nothing()
    for what, ours in (
        ("time an inference takes longer when measured", lambda: _measured(engine)[0]),
        ("what of it is in the latency that is told", lambda: _measured(engine)[1]),
    ):
        yield _goal(what, ours, lambda: _bare(engine), rounds)


def _goal(what: str, ours: Callable[[], float], bare: Callable[[], float], rounds: int) -> Goal:
    figures = alternate(ours, bare, rounds)
    added = [our - their for our, their in zip(figures.ours, figures.theirs, strict=True)]
    return Goal(
        AREA,
        what,
        statistics.median(added),
        "us",
        "a bare loop around the same call, no engine behind it",
        "<=",
        _LIMIT_US,
        min(added),
        max(added),
        f"of {rounds} rounds",
    )


def _measured(engine: Session) -> tuple[float, float]:
    """Microseconds of an inference within ``latency.measure``: by the clock on the wall, and as it tells."""
    options = LatencyOptions(rounds=4, round_seconds=0.1, min_samples=1)
    found = measure({"nothing": engine}, _IMAGE, options)["nothing"]
    if isinstance(found, EdgetlError):
        raise found
    spent = len(found.round_p50_ms) * options.round_seconds
    return spent / found.n * 1e6, found.p50.value * 1e3


def _bare(engine: Nothing) -> float:
    """Microseconds of the innermost call in a loop that does nothing else."""
    run = engine._run
    begin = time.perf_counter()
    for _ in range(_LOOPS):
        run(_IMAGE)
    return (time.perf_counter() - begin) / _LOOPS * 1e6
