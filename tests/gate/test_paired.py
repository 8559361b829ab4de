from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest

from edgetl.errors import InputError
from edgetl.gate.paired import agreement, images_needed, mcnemar, paired_drop, score_interval, verdict
from edgetl.quantity import Z95, Quantity, proportion


def _pair(lost: int, gained: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.ones(n, bool), np.ones(n, bool)
    b[:lost] = False
    a[lost : lost + gained] = False
    return a, b


def test_published_example() -> None:
    """Airway hyper-responsiveness (Bentur et al. 2009), as worked in Fagerland, Lydersen & Laake 2014."""
    assert score_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=6e-4)


@pytest.mark.parametrize(
    ("lost", "gained", "n"), [(12, 5, 200), (0, 0, 50), (3, 0, 40), (0, 1, 44), (40, 20, 160)]
)
def test_limits_are_where_the_brute_force_score_test_rejects(lost: int, gained: int, n: int) -> None:
    for limit, sign in zip(score_interval(lost, gained, n), (1, -1), strict=True):
        gain_share = np.linspace(0, 1, 2_000_001)[1:-1]
        loss_share = gain_share + limit
        rest = 1 - gain_share - loss_share
        valid = (loss_share > 0) & (rest > 0)
        gain_share, loss_share, rest = gain_share[valid], loss_share[valid], rest[valid]
        likelihood = (
            lost * np.log(loss_share) + gained * np.log(gain_share) + (n - lost - gained) * np.log(rest)
        )
        best = int(likelihood.argmax())
        variance = (loss_share[best] + gain_share[best] - limit**2) / n
        assert ((lost - gained) / n - limit) / math.sqrt(variance) == pytest.approx(sign * Z95, rel=2e-3)


@pytest.mark.parametrize(("loss", "gain", "n"), [(0.05, 0.02, 300), (0.02, 0.01, 1000), (0.1, 0.1, 200)])
def test_coverage_is_nominal(loss: float, gain: float, n: int) -> None:
    interval = cache(score_interval)
    counts = np.random.default_rng(0).multinomial(n, [loss, gain, 1 - loss - gain], size=4000)
    limits = np.array([interval(int(lost), int(gained), n) for lost, gained, _ in counts])
    covered = ((limits[:, 0] <= loss - gain) & (loss - gain <= limits[:, 1])).mean()
    assert 0.935 <= covered <= 0.968


def test_drop_is_in_points_and_positive_where_b_is_worse() -> None:
    drop = paired_drop(*_pair(6, 2, 200))
    assert drop.value == pytest.approx(2.0)
    assert drop.n == 200
    assert drop.low is not None
    assert drop.high is not None
    assert drop.low < 2.0 < drop.high
    back = paired_drop(*_pair(6, 2, 200)[::-1])
    assert (back.value, back.low, back.high) == pytest.approx((-2.0, -drop.high, -drop.low))


def test_no_difference_is_not_certainty() -> None:
    drop = paired_drop(*_pair(0, 0, 100))
    z2 = Z95**2
    assert drop.value == 0
    assert drop.high == pytest.approx(100 * z2 / (100 + z2))
    assert drop.low == pytest.approx(-100 * z2 / (100 + z2))


@pytest.mark.parametrize(("lost", "gained"), [(5, 0), (0, 5)])
def test_everything_changes(lost: int, gained: int) -> None:
    drop = paired_drop(*_pair(lost, gained, 5))
    assert drop.low is not None
    assert drop.high is not None
    assert -100 <= drop.low <= drop.value <= drop.high <= 100


def test_pairing_counts() -> None:
    """Same accuracies, but the interval is tighter where both classifiers fail on the same images."""
    together, apart = paired_drop(*_pair(4, 0, 400)), paired_drop(*_pair(24, 20, 400))
    assert together.value == apart.value
    assert together.high is not None
    assert apart.high is not None
    assert together.high < apart.high


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (5, 0), (9, 2), (7, 7), (30, 12), (600, 500)])
def test_mcnemar_is_the_exact_binomial_test(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar(*_pair(lost, gained, 1200)) == pytest.approx(expected, rel=1e-9)


def test_agreement() -> None:
    assert agreement(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1])) == proportion(3, 4)


def test_verdicts() -> None:
    assert verdict(Quantity(0.2, -0.5, 1.0, 100), 1.0) == "passed"
    assert verdict(Quantity(3.0, 1.1, 5.0, 100), 1.0) == "failed"
    assert verdict(Quantity(3.0, 1.0, 5.0, 100), 1.0) == "undecided"
    assert verdict(Quantity(0.2, -0.5, 1.01, 100), 1.0) == "undecided"
    assert verdict(Quantity(0.2, None, None, 100), 1.0) == "undecided"


@pytest.mark.parametrize(
    ("lost", "gained", "n", "budget"), [(4, 2, 300, 1.0), (9, 1, 100, 4.0), (0, 3, 60, 0.5)]
)
def test_images_needed_is_the_smallest_sample_that_decides(
    lost: int, gained: int, n: int, budget: float
) -> None:
    drop = paired_drop(*_pair(lost, gained, n))
    assert verdict(drop, budget) == "undecided"
    needed = images_needed(drop, budget)
    assert needed is not None
    assert needed > n

    def judged(size: int) -> str:
        low, high = score_interval(lost * size / n, gained * size / n, size)
        return verdict(Quantity(drop.value, 100 * low, 100 * high, size), budget)

    assert judged(needed + 1) != "undecided"
    assert judged(needed - 1) == "undecided"


def test_images_needed_without_any_discordant_image() -> None:
    """z² / (n + z²) reaches 1 % at n = 99 z² = 380.3."""
    assert images_needed(paired_drop(*_pair(0, 0, 100)), 1.0) == 381


def test_images_needed_where_none_decide_or_none_are_missing() -> None:
    assert images_needed(paired_drop(*_pair(2, 0, 100)), 2.0) is None
    assert images_needed(Quantity(0.2, None, None, 100), 1.0) is None
    assert images_needed(paired_drop(*_pair(0, 0, 1000)), 1.0) == 1000


def test_refuses_what_is_not_paired() -> None:
    with pytest.raises(InputError, match="same images"):
        paired_drop(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(InputError, match="same images"):
        agreement(np.array([], int), np.array([], int))
    with pytest.raises(InputError, match="boolean"):
        mcnemar(np.array([1, 2]), np.array([1, 2]))
    with pytest.raises(InputError, match="budget"):
        verdict(Quantity(0.0, 0.0, 0.0, 1), math.nan)
