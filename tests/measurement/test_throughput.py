from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgetl.errors import BackendError, InputError
from edgetl.measurement.throughput import measure_throughput, student_t95

IMAGE = np.zeros((4, 4, 3), np.uint8)
Consume = Callable[[int, np.ndarray], None]


class Pool:
    """Sleeps ``seconds`` a batch, ``workers`` at a time, finishing in any order."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.workers, self.seconds, self.stretches = workers, seconds, 0

    def run(self, images: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        return np.zeros((len(images), 2), np.float32)

    def run_many(self, batches: Iterator[np.ndarray], consume: Consume) -> None:
        self.stretches += 1
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


def test_one_repeat_has_no_interval_and_the_warm_up_does_not_count() -> None:
    engine = Pool(1, 0.01)
    result = measure_throughput(engine, IMAGE, 0.1, repeats=1, warmup_seconds=0.3)
    assert result.low is None
    assert result.high is None
    assert engine.stretches == 2
    assert result.n <= 11


def test_an_engine_slower_than_the_stretch_still_runs_once() -> None:
    assert measure_throughput(Pool(1, 0.05), IMAGE, 1e-9, 2, 0.0).n == 2


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


@pytest.mark.parametrize(("seconds", "repeats"), [(0.0, 3), (1.0, 0)])
def test_nonsense_durations_are_refused(seconds: float, repeats: int) -> None:
    with pytest.raises(InputError):
        measure_throughput(Pool(1, 0.0), IMAGE, seconds, repeats)


def test_student_t() -> None:
    assert student_t95(2) == 4.3027
    assert student_t95(60) == pytest.approx(2.0003, abs=2e-3)
    values = [student_t95(d) for d in range(1, 60)]
    assert values == sorted(values, reverse=True)
