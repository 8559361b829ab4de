from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edgetl.measurement.steady import MIN_TRACE, changed, oddities, steady_index, two_modes, warm_up

RNG_SEEDS = range(5)


def noise(seed: int, n: int, scale: float = 0.02) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, scale, n)


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_flat_noise_is_steady_from_the_start(seed: int) -> None:
    assert steady_index(noise(seed, 200)) == 0


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_decay_is_steady_after_it_has_died_out(seed: int) -> None:
    index = steady_index(noise(seed, 400) * (1 + 3 * np.exp(-np.arange(400) / 25)))
    assert index is not None
    assert 60 <= index <= 200


def test_a_step_cuts_the_tail_at_the_step() -> None:
    trace = noise(0, 200)
    trace[:100] *= 1.3
    assert steady_index(trace) == 100
    trace = noise(0, 200)
    trace[-20:] *= 1.3
    assert steady_index(trace) is None


def test_a_slow_drift_does_not_hide_between_neighbours() -> None:
    assert steady_index(noise(1, 500, 0.005) * np.linspace(1, 1.4, 500)) is None


def test_a_few_outliers_change_nothing() -> None:
    trace = noise(2, 200)
    trace[::17] *= 20
    assert steady_index(trace) == 0


def test_a_short_trace_is_never_steady() -> None:
    assert steady_index(np.ones(MIN_TRACE - 1)) is None
    assert steady_index(np.ones(MIN_TRACE)) == 0


def test_changed_needs_both_size_and_significance() -> None:
    assert not changed(noise(0, 5000, 0.001), 1.01 * noise(1, 5000, 0.001))  # significant, small
    assert not changed([1.0, 2.0, 3.0, 4.0, 5.0], [1.5, 2.5, 4.0, 4.5, 5.5])  # large, by chance
    assert changed(noise(0, 50), 1.1 * noise(1, 50))
    assert changed([2.0] * 5, [1.0] * 5)  # the smallest windows can still differ


def decaying(floor: float, first: float, rate: float) -> Iterator[float]:
    k = 0
    while True:
        yield floor + first * float(np.exp(-k / rate))
        k += 1


def test_warm_up_stops_when_steady_and_not_before_its_floors() -> None:
    flat = decaying(0.01, 0.0, 1.0)
    result = warm_up(lambda: next(flat), min_runs=15, min_seconds=0.2)
    assert result.steady
    assert 20 <= len(result.samples) <= 26
    trace = decaying(0.001, 0.01, 60.0)
    result = warm_up(lambda: next(trace), min_runs=15, min_seconds=0.0)
    assert result.steady
    assert result.samples[-1] < 1.1 * 0.001
    assert len(result.samples) > 100


def test_warm_up_gives_up_at_its_cap() -> None:
    drift = iter(0.001 * 1.01 ** np.arange(10_000))
    result = warm_up(lambda: float(next(drift)), max_seconds=1.0)
    assert not result.steady
    assert 1.0 <= result.seconds < 1.1


def test_warm_up_of_a_very_slow_engine_is_two_runs() -> None:
    result = warm_up(lambda: 9.0, max_seconds=5.0)
    assert len(result.samples) == 2
    assert not result.steady


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_only_two_modes_are_bimodal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert two_modes(rng.normal(5, 1, 1000)) is None
    assert two_modes(rng.uniform(1, 3, 1000)) is None
    assert two_modes(1 + rng.exponential(1, 1000)) is None
    assert two_modes(np.ones(100)) is None
    mixed = np.where(rng.random(1000) < 0.3, rng.normal(3, 0.05, 1000), rng.normal(2, 0.05, 1000))
    found = two_modes(mixed)
    assert found is not None
    assert found == pytest.approx((2.0, 3.0, 0.3), abs=0.05)


def test_oddities_count_outliers() -> None:
    trace = noise(0, 1000)
    assert oddities(trace) == []
    trace[::100] = 11.0
    assert oddities(trace) == ["outliers: 10 of 1000 runs (1.00%) took over 10x p50"]
