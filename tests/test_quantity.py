from __future__ import annotations

import numpy as np
import pytest

from edgetl.quantity import Quantity, normal_quantile, proportion, quantile, student_t


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (8, 10, 0.4901625, 0.9433178),
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (1, 1, 0.2065493, 1.0),
    ],
)
def test_wilsons_interval(hits: int, n: int, low: float, high: float) -> None:
    found = proportion(hits, n)
    assert (found.value, found.n, found.kind) == (hits / n, n, "measured")
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_proportions(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="proportion"):
        proportion(hits, n)


def test_quantile_is_numpys_and_its_interval_holds_it() -> None:
    samples = sorted(np.random.default_rng(0).gamma(2, size=501).tolist())
    for q in (0.05, 0.5, 0.9):
        found = quantile(samples, q)
        assert found.value == pytest.approx(np.quantile(samples, q))
        assert found.low in samples and found.high in samples
        assert found.low <= found.value <= found.high


def test_interval_covers_the_true_median_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        found = quantile(sorted(rng.normal(size=40).tolist()), 0.5)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
    assert 930 <= covered <= 985


def test_few_samples_have_no_interval() -> None:
    found = quantile([1.0, 2.0, 3.0], 0.99)
    assert found.high is None
    assert quantile([5.0], 0.5) == Quantity(5.0, None, None, 1)


@pytest.mark.parametrize(("samples", "q"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.0)])
def test_impossible_quantiles(samples: list[float], q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(samples, q)


def test_dictionary_and_scale() -> None:
    quantity = Quantity(2.0, 1.0, None, 7, "simulated")
    assert Quantity.from_dict(quantity.to_dict()) == quantity
    assert quantity.scaled(100) == Quantity(200.0, 100.0, None, 7, "simulated")


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 30, 31, 200])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.9999])
def test_student_t_is_scipy_s(degrees: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_t(degrees, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees))


def test_student_t_nears_the_normal_and_needs_a_degree_of_freedom() -> None:
    assert student_t(5000) == pytest.approx(normal_quantile(), rel=1e-3)
    assert normal_quantile() == pytest.approx(1.959963984540054)
    for degrees, confidence in ((0, 0.95), (5, 1.0), (5, 0.0)):
        with pytest.raises(ValueError, match="degrees of freedom"):
            student_t(degrees, confidence)
