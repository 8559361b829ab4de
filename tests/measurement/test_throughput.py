from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgetl.errors import BackendError, InputError
from edgetl.measurement.throughput import _rate, measure_throughput

IMAGE = np.zeros((4, 4, 3), np.uint8)
Consume = Callable[[int, np.ndarray], None]


class Pool:
    """Sleeps ``seconds`` a batch, ``workers`` at a time, finishing in any order."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.workers, self.seconds, self.calls = workers, seconds, 0

    def run(self, images: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        return np.zeros((len(images), 2), np.float32)

    def run_many(self, batches: Iterator[np.ndarray], consume: Consume) -> None:
        self.calls += 1
        indexed = enumerate(batches)
        with ThreadPoolExecutor(self.workers) as pool:
            pending = [pool.submit(self._one, i, b, consume) for i, b in self._first(indexed)]
            for i, b in indexed:
                pending.pop(0).result()
                pending.append(pool.submit(self._one, i, b, consume))
            for future in pending:
                future.result()

    def _first(self, indexed: Iterator[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
        return [pair for _, pair in zip(range(self.workers), indexed, strict=False)]

    def _one(self, index: int, batch: np.ndarray, consume: Consume) -> None:
        consume(index, self.run(batch))


class Broken(Pool):
    """Passes ``times`` results for every batch to the consumer."""

    def __init__(self, times: int) -> None:
        super().__init__(1, 0.001)
        self.times = times

    def run_many(self, batches: Iterator[np.ndarray], consume: Consume) -> None:
        for index, batch in enumerate(batches):
            for _ in range(self.times):
                consume(index, self.run(batch))


def test_rate_is_that_of_the_inferences_in_flight() -> None:
    alone = measure_throughput(Pool(1, 0.005), IMAGE, 0.6, 3, 0.02)
    four = measure_throughput(Pool(4, 0.005), IMAGE, 0.6, 3, 0.02)
    assert 50 < alone.value <= 200
    assert four.value > 1.5 * alone.value
    assert four.value <= 800
    assert four.n == pytest.approx(four.value * 0.6, rel=0.3)
    assert four.low is not None
    assert four.high is not None
    assert four.low <= four.value <= four.high


def test_images_are_counted_not_batches() -> None:
    batch = np.zeros((8, 4, 4, 3), np.uint8)
    assert measure_throughput(Pool(1, 0.005), batch, 0.1, 2, 0.0).value > 400


def test_one_stretch_has_no_interval_and_the_warm_up_does_not_count() -> None:
    engine = Pool(1, 0.01)
    result = measure_throughput(engine, IMAGE, 0.1, stretches=1, warmup_seconds=0.3)
    assert result.low is None
    assert result.high is None
    assert engine.calls == 2
    assert result.n <= 11


def test_an_engine_too_slow_for_the_time_has_a_rate_and_no_interval() -> None:
    found = measure_throughput(Pool(1, 0.05), IMAGE, 1e-9, 2, 0.0)
    assert found.n == 1 and found.low is None
    assert 5 < found.value <= 20


@pytest.mark.parametrize("at_once", [1, 4, 8])
@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_filling_and_draining_do_not_count(at_once: int, seconds: float) -> None:
    """Results come several at once, every 40 ms, from ``at_once`` in flight."""
    times = [40e-3 * (1 + index // at_once) + 1e-6 * (index % at_once) for index in range(60 * at_once)]
    found = _rate([time for time in times if time < 0.08 + seconds], seconds, 6)
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(25 * at_once, rel=1e-3)
    assert found.low <= 25 * at_once <= found.high + 1e-3 * at_once


def test_an_engine_that_gets_slower_has_a_wide_interval() -> None:
    times = list(np.cumsum([0.01] * 100 + [0.02] * 60))
    found = _rate(times, 2.0, 6)
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(75, rel=0.02)
    assert found.high - found.low > 40


@pytest.mark.parametrize("times", [0, 2])
def test_lost_and_doubled_batches_are_found(times: int) -> None:
    with pytest.raises(BackendError, match="must come back once"):
        measure_throughput(Broken(times), IMAGE, 0.01, 1, 0.0)


def test_a_failure_is_one_line_with_its_cause() -> None:
    class Failing(Pool):
        def run(self, images: np.ndarray) -> np.ndarray:
            raise RuntimeError("out of\nmemory")

    with pytest.raises(BackendError, match="out of memory") as caught:
        measure_throughput(Failing(1, 0.0), IMAGE, 0.01, 1, 0.0)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(("seconds", "stretches"), [(0.0, 3), (1.0, 0)])
def test_nonsense_durations_are_refused(seconds: float, stretches: int) -> None:
    with pytest.raises(InputError):
        measure_throughput(Pool(1, 0.0), IMAGE, seconds, stretches)
