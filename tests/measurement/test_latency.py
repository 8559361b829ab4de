from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from edgetl.errors import BackendError, EdgetlError, GateError, InputError
from edgetl.measurement.latency import (
    Latency,
    LatencyOptions,
    measure,
    min_samples_for,
    paired_ratio,
    round_order,
    summarise,
)
from edgetl.measurement.steady import WarmUp

IMAGE = np.zeros((8, 8, 3), np.uint8)
QUICK = LatencyOptions(rounds=6, round_seconds=0.01, min_samples=30, max_seconds=1.0, warmup_seconds=0.01)
OUTPUT = np.zeros((1, 2), np.float32)
WARM = WarmUp((0.02, *[0.001] * 20), True)


class Engine:
    """Spins for ``seconds`` a run; ``log`` and ``fail`` observe or break it."""

    def __init__(self, seconds: float = 0.0, hook: Callable[[], object] = lambda: None) -> None:
        self.seconds, self.hook, self.calls = seconds, hook, 0

    def run(self, images: np.ndarray) -> np.ndarray:
        assert images.shape == (1, 8, 8, 3)
        assert images.dtype == np.uint8
        self.calls += 1
        self.hook()
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return OUTPUT

    def run_many(self, batches: Iterator[np.ndarray], consume: Callable[[int, np.ndarray], None]) -> None:
        raise AssertionError("latency must not use throughput mode")


def one(engine: Engine, options: LatencyOptions = QUICK) -> Latency:
    result = measure({"e": engine}, IMAGE, options)["e"]
    assert isinstance(result, Latency)
    return result


def rounds_of(seed: int, count: int = 8, size: int = 100, wobble: float = 0.05) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(2.0 * (1 + rng.normal(0, wobble)), 0.02, size) for _ in range(count)]


@pytest.mark.parametrize(("percentile", "n"), [(0.5, 11), (0.9, 64), (0.97, 219), (0.99, 662), (0.999, 6636)])
def test_min_samples_is_loadgens_rule(percentile: float, n: int) -> None:
    assert min_samples_for(percentile) == n


def test_min_samples_rejects_nonsense() -> None:
    with pytest.raises(ValueError, match="percentile"):
        min_samples_for(1.0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_every_engine_follows_every_other_equally_often(count: int) -> None:
    cycle = count if count % 2 == 0 else 2 * count
    orders = [round_order(count, i) for i in range(cycle)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    pairs = Counter(pair for order in orders for pair in pairwise(order))
    assert len(pairs) == count * (count - 1)
    assert len(set(pairs.values())) <= 1
    assert len(set(Counter(order[0] for order in orders).values())) == 1


def test_the_time_is_that_of_run() -> None:
    latency = one(Engine(0.002))
    assert 2.0 <= latency.p50.value < 4.0
    assert latency.p50.low is not None
    assert latency.p50.low >= 2.0
    assert latency.n >= 30
    assert len(latency.round_p50_ms) >= 6


def test_the_harness_adds_little() -> None:
    latency = one(Engine(), LatencyOptions(6, 0.02, 700, 2.0))
    assert latency.p50.value < 0.1
    assert latency.p99 is not None


def test_wall_clock_overhead_per_inference_is_small() -> None:
    engine = Engine()
    start = time.perf_counter()
    options = LatencyOptions(6, 0.05, 700, 2.0, warmup_seconds=0.0, max_warmup_seconds=0.001)
    latency = one(engine, options)
    assert (time.perf_counter() - start) / engine.calls < 100e-6
    assert latency.n > 1000


def test_engines_take_turns() -> None:
    log: list[str] = []
    engines = {name: Engine(0.001, partial(log.append, name)) for name in "abc"}
    measure(engines, IMAGE, QUICK)
    visits = [name for i, name in enumerate(log) if i == 0 or log[i - 1] != name]
    timed = visits[3:]  # after the three warm-ups
    assert Counter(pairwise(timed)).keys() == {(p, q) for p in "abc" for q in "abc" if p != q}


def test_the_untimed_runs_after_a_switch_are_not_counted() -> None:
    last: list[str] = []
    first_after_switch = 0.02

    def hook(name: str) -> None:
        if last[-1:] != [name]:
            time.sleep(first_after_switch)
        last.append(name)

    engines = {name: Engine(0.001, partial(hook, name)) for name in "ab"}
    options = LatencyOptions(6, 0.1, 100, 5.0, warmup_seconds=0.0)
    for latency in measure(engines, IMAGE, options).values():
        assert isinstance(latency, Latency)
        assert latency.p99 is None
        assert max(latency.round_p50_ms) < 5
        assert latency.first_ms.value > 20 > latency.p90.value  # type: ignore[union-attr]


@pytest.mark.parametrize("after", [0, 25])
def test_a_failing_engine_does_not_stop_the_others(after: int) -> None:
    class Failing(Engine):
        def run(self, images: np.ndarray) -> np.ndarray:
            if self.calls >= after:
                raise RuntimeError("device\nlost")
            return super().run(images)

    results = measure({"bad": Failing(), "good": Engine()}, IMAGE, QUICK)
    assert list(results) == ["bad", "good"]
    assert isinstance(results["good"], Latency)
    error = results["bad"]
    assert isinstance(error, BackendError)
    assert isinstance(error.__cause__, RuntimeError)
    assert str(error) == "bad: the engine failed while being measured: device lost"


def test_an_edgetl_error_is_returned_as_it_is() -> None:
    mine = GateError("no")

    def fail() -> None:
        raise mine

    assert measure({"bad": Engine(hook=fail)}, IMAGE, QUICK) == {"bad": mine}


def test_an_interrupt_is_not_swallowed_and_gc_comes_back() -> None:
    def interrupt() -> None:
        assert not gc.isenabled()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure({"e": Engine(hook=interrupt)}, IMAGE, QUICK)
    assert gc.isenabled()


def test_the_time_limit_ends_a_slow_engine() -> None:
    start = time.perf_counter()
    latency = one(Engine(0.02), LatencyOptions(8, 0.05, 700, 0.3, max_warmup_seconds=0.1))
    assert time.perf_counter() - start < 2.0
    assert latency.p99 is None
    assert latency.p90 is None
    assert latency.n < 64
    assert not latency.steady
    assert latency.notes[0].startswith("not steady: the warm-up")


def test_progress_rises_to_one() -> None:
    seen: list[tuple[str, float]] = []
    measure({"a": Engine(), "b": Engine()}, IMAGE, QUICK, lambda name, share: seen.append((name, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {name for name, _ in seen} == {"a", "b"}


@pytest.mark.parametrize(
    "image", [IMAGE.astype(np.float32), IMAGE[..., :1], IMAGE[0], np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_a_wrong_image_is_an_input_error(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8"):
        measure({"e": Engine()}, image)


def test_wrong_options_and_no_engine_are_input_errors() -> None:
    with pytest.raises(InputError):
        LatencyOptions(rounds=0)
    with pytest.raises(InputError, match="no engine"):
        measure({}, IMAGE)


def test_summary_is_json_deterministic_and_keeps_order() -> None:
    rounds = rounds_of(0, size=500)
    latency = summarise(rounds, WARM)
    assert latency == summarise(rounds, WARM)
    data = json.loads(json.dumps(latency.to_dict()))
    assert data["p50"] == latency.p50.to_dict()
    samples = np.concatenate(rounds)
    assert len(latency.samples_ms) == 2000
    assert latency.n == 4000
    positions = [int(np.flatnonzero(samples == s)[0]) for s in latency.samples_ms]
    assert positions == sorted(positions)
    assert positions[0] == 0
    assert positions[-1] == 3999
    assert latency.first_ms.value == 20.0
    assert latency.warmup_runs == 21
    assert latency.steady
    assert latency.maximum.value == samples.max()


def test_interval_follows_the_rounds_not_the_samples() -> None:
    hits, trials = 0, 100
    for seed in range(trials):
        p50 = summarise(rounds_of(seed), WARM).p50
        assert p50.low is not None
        assert p50.high is not None
        assert p50.low <= p50.value <= p50.high
        hits += p50.low <= 2.0 <= p50.high
    assert 0.90 <= hits / trials <= 1.0


def test_few_rounds_have_no_interval() -> None:
    latency = summarise(rounds_of(0, count=5, size=200), WARM)
    assert latency.p50.low is None
    assert latency.p99 is not None
    assert latency.p99.high is None


def test_a_drift_is_not_steady() -> None:
    latency = summarise([r * (1 + 0.05 * i) for i, r in enumerate(rounds_of(0, wobble=0.0))], WARM)
    assert not latency.steady
    assert "in the first half" in latency.notes[0]
    assert summarise(rounds_of(0, wobble=0.0), WARM).notes == ()
    assert summarise(rounds_of(0, count=1), WARM).steady


def test_paired_ratio_is_immune_to_what_hits_both() -> None:
    shared = np.random.default_rng(0).uniform(1, 2, 8)
    a = summarise([r * s for r, s in zip(rounds_of(1, wobble=0.01), shared, strict=True)], WARM)
    b = summarise([r * s * 2 for r, s in zip(rounds_of(2, wobble=0.01), shared, strict=True)], WARM)
    ratio = paired_ratio(a, b)
    assert ratio.value == pytest.approx(0.5, rel=0.02)
    assert ratio.n == 8
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < 0.5 < ratio.high
    assert ratio.high - ratio.low < 0.05
    same = paired_ratio(a, a)
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)


def test_paired_ratio_uses_the_common_rounds() -> None:
    a, b = summarise(rounds_of(1, count=12), WARM), summarise(rounds_of(2, count=7), WARM)
    assert paired_ratio(a, b).n == 7


def test_results_hold_errors_by_type() -> None:
    results: dict[str, Latency | EdgetlError] = measure({"e": Engine()}, IMAGE, QUICK)
    assert isinstance(results["e"], Latency)


def test_a_slow_engine_takes_turns_to_the_end() -> None:
    class Sleeping:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def run(self, images: np.ndarray) -> np.ndarray:
            time.sleep(self.seconds)
            return np.zeros((1, 2), np.float32)

    options = LatencyOptions(
        rounds=6, round_seconds=0.02, min_samples=60, max_seconds=2.0, warmup_runs=20, warmup_seconds=0
    )
    found = measure({"fast": Sleeping(0.001), "slow": Sleeping(0.006)}, IMAGE, options)
    fast, slow = found["fast"], found["slow"]
    assert isinstance(fast, Latency) and isinstance(slow, Latency)
    assert slow.n >= 60 and len(slow.round_p50_ms) <= 8  # of rounds that are three times as long
