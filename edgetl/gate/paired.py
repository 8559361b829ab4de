"""Paired comparison of two classifiers on the same images: did accuracy drop, and is that certain?

Only the discordant images say anything: those that exactly one of the two classifiers gets right. With
``n`` images, ``lost`` of them right only before and ``gained`` right only after, the drop is
``(lost - gained) / n``. Its interval is Tango's score interval for the difference of paired proportions
(T. Tango, *Statistics in Medicine* 17:891-908, 1998), which, unlike Wald's, stays honest where few or no
images are discordant, the usual case after quantization; it is among those recommended by Fagerland,
Lydersen & Laake (*Statistics in Medicine* 33:2850-2875, 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import InputError
from edgetl.quantity import Z95, Quantity, proportion

Verdict = Literal["passed", "failed", "undecided"]

_POINTS = 100.0
_MOST_IMAGES = 10**9


def paired_drop(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> Quantity:
    """How many percentage points of accuracy ``b`` lost against ``a``, with a 95 % interval.

    Args:
        correct_a: bool ``[N]``, whether the reference got each image right.
        correct_b: bool ``[N]``, the same images in the same order for the classifier under test.

    Returns:
        The drop in percentage points, positive where ``b`` is worse, with Tango's score interval.

    Raises:
        InputError: if the two are not of the same images.
    """
    lost, gained, n = _discordant(correct_a, correct_b)
    low, high = score_interval(lost, gained, n)
    return Quantity(_POINTS * (lost - gained) / n, _POINTS * low, _POINTS * high, n)


def mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> float:
    """Exact two-sided p-value that ``a`` and ``b`` are equally accurate (McNemar 1947, binomial form).

    Args:
        correct_a: bool ``[N]``, whether the first classifier got each image right.
        correct_b: bool ``[N]``, the same for the second.

    Raises:
        InputError: if the two are not of the same images.
    """
    lost, gained, _ = _discordant(correct_a, correct_b)
    trials, fewer = lost + gained, min(lost, gained)
    ranks = np.arange(1, fewer + 1, dtype=np.float64)
    log_binomials = np.concatenate([[0.0], np.cumsum(np.log((trials - ranks + 1) / ranks))])
    tail = float(np.exp(log_binomials - trials * math.log(2)).sum())
    return min(1.0, 2 * tail)


def agreement(predictions_a: NDArray[Any], predictions_b: NDArray[Any]) -> Quantity:
    """Share of images for which both classifiers predict the same class, with Wilson's interval.

    Args:
        predictions_a: integer ``[N]``, predicted class of each image.
        predictions_b: integer ``[N]``, the same images in the same order.

    Raises:
        InputError: if the two are not of the same images.
    """
    a, b = _same_images(predictions_a, predictions_b)
    return proportion(int(np.count_nonzero(a == b)), len(a))


def verdict(drop: Quantity, max_drop_points: float) -> Verdict:
    """Judge a drop against a budget, both in percentage points.

    ``passed`` if the whole interval is within the budget, ``failed`` if all of it is beyond,
    ``undecided`` if the images do not suffice to tell (also when the drop carries no interval).
    """
    _check_budget(max_drop_points)
    if drop.high is not None and drop.high <= max_drop_points:
        return "passed"
    if drop.low is not None and drop.low > max_drop_points:
        return "failed"
    return "undecided"


def images_needed(drop: Quantity, max_drop_points: float) -> int | None:
    """Number of images, in all, that would decide if the shares seen so far stayed as they are.

    The share of discordant images follows from the drop and its interval; the interval is then computed
    anew for larger samples. A real larger sample will differ, so take it as an estimate.

    Args:
        drop: what :func:`paired_drop` returned.
        max_drop_points: the budget in percentage points.

    Returns:
        ``drop.n`` if it is decided already; None if the drop sits so close to the budget that a thousand
        million images would not tell, or if it carries no interval.
    """
    if verdict(drop, max_drop_points) != "undecided":
        return drop.n
    if drop.low is None or drop.high is None:
        return None
    difference, budget = drop.value / _POINTS, max_drop_points / _POINTS
    share = _discordant_share(difference, drop.high / _POINTS, drop.n)

    def decided(n: int) -> bool:
        low, high = _interval_of_shares(difference, share, n)
        return high <= budget or low > budget

    return _first(decided, drop.n)


def score_interval(lost: float, gained: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Tango's score interval for ``(lost - gained) / n``, as fractions in ``[-1, 1]``.

    Args:
        z: two-sided quantile of the normal distribution, of 95 % by default.
    """
    high = _score_limit(lost, gained, n, z)
    low = -_score_limit(gained, lost, n, z)
    return low, high


def _score_limit(lost: float, gained: float, n: int, z: float) -> float:
    """The upper limit: where the score statistic, which falls with the difference, reaches -z."""
    below, above = (lost - gained) / n, 1.0
    for _ in range(60):
        middle = (below + above) / 2
        if _score(lost, gained, n, middle) > -z:
            below = middle
        else:
            above = middle
    return above


def _score(lost: float, gained: float, n: int, difference: float) -> float:
    """Tango's statistic: the deviation from ``difference`` over its standard error under it.

    The share of ``gained`` under the hypothesis is the constrained maximum-likelihood estimate, the larger
    root of a quadratic (Tango 1998, equations 10-12).
    """
    b = (2 * n - lost + gained) * difference - lost - gained
    c = -gained * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    deviation = lost - gained - n * difference
    if variance <= 0:
        return -math.inf if deviation < 0 else 0.0
    return deviation / math.sqrt(variance)


def _interval_of_shares(difference: float, share: float, n: int) -> tuple[float, float]:
    return score_interval(n * (share + difference) / 2, n * (share - difference) / 2, n)


def _discordant_share(difference: float, high: float, n: int) -> float:
    """The share of discordant images that gives this upper limit (which grows with the share)."""
    below, above = abs(difference), 1.0
    for _ in range(50):
        middle = (below + above) / 2
        if _interval_of_shares(difference, middle, n)[1] < high:
            below = middle
        else:
            above = middle
    return below


def _first(decided: Callable[[int], bool], start: int) -> int | None:
    """Smallest n, found by doubling and bisection, at which ``decided`` turns true."""
    below, above = start, 2 * start
    while not decided(above):
        if above > _MOST_IMAGES:
            return None
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if decided(middle) else (middle, above)
    return above


def _discordant(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> tuple[int, int, int]:
    a, b = _same_images(correct_a, correct_b)
    if a.dtype != np.bool_ or b.dtype != np.bool_:
        raise InputError("a paired comparison needs boolean arrays (prediction == label), not predictions")
    return int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a)), len(a)


def _same_images(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise InputError(
            f"a paired comparison needs the same images for both, got shapes {a.shape} and {b.shape}"
        )
    return a, b


def _check_budget(max_drop_points: float) -> None:
    if not math.isfinite(max_drop_points):
        raise InputError(f"the accuracy budget must be a number of percentage points, not {max_drop_points}")
