"""The new classification head: multinomial logistic regression on frozen features, fitted to its optimum.

The objective is the mean cross-entropy plus ``l2 / 2`` times the squared weights (the bias is free), on
features centred and divided by the square root of their spread ("Pareto scaling", van den Berg et al., *BMC
Genomics* 7:142, 2006): on a backbone's sparse, skewed activations it generalises better than raw features,
which let a few loud channels decide, and than unit variance, which amplifies the rare ones. The scaling is
folded into the weights, so the head stays one linear layer on the raw features.

The strength comes from a stratified cross-validation in single precision, all folds at once; the last fit has
its objective and gradient in double and is checked to be at the optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import InputError
from edgetl.transfer.logistic import Doubles, Floats, Ints, LogisticProblem, blocks, principal_axes

STRENGTHS = tuple(float(f"{10 ** (1 - step / 2):.3g}") for step in range(11))
"""Strengths tried, from strong to weak; bounded below so that separable classes have a finite optimum."""

_FOLDS = 5
_FALLBACK_L2 = 1e-2
_RISES_TO_STOP = 2
_CV_TOLERANCE = 3e-3
_FINAL_TOLERANCE = 1e-9
_LOUDEST = 100.0
"""Most spread a scaled feature may have, in medians."""
_CV_PRODUCTS = 2_000_000_000
"""Multiplications in one pass over all folds beyond which fewer folds are held out, each still a fifth."""


@dataclass(frozen=True, eq=False)
class Head:
    """A linear head: ``weight`` float32 ``[classes, features]``, ``bias`` float32 ``[classes]``.

    ``cross_validation`` holds ``(l2, accuracy)`` of each strength tried and ``log_loss`` the matching
    ``(l2, held-out log-loss)``; both are empty if ``l2`` was given.
    """

    weight: Floats
    bias: Floats
    l2: float
    cross_validation: tuple[tuple[float, float], ...]
    log_loss: tuple[tuple[float, float], ...] = ()

    def logits(self, features: NDArray[np.floating]) -> Floats:
        """float ``[N, features]`` to float32 ``[N, classes]``."""
        return np.asarray(np.asarray(features, np.float32) @ self.weight.T + self.bias, np.float32)


def fit_head(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    classes: int,
    *,
    seed: int = 0,
    l2: float | None = None,
    groups: Sequence[str] | None = None,
) -> Head:
    """Fit a head to the optimum on cached features.

    Args:
        features: float ``[N, D]``.
        labels: integer ``[N]`` in ``0..classes-1``, each class at least once.
        classes: number of classes, at least 2.
        seed: of the cross-validation's folds.
        l2: the strength; chosen from :data:`STRENGTHS` by cross-validation if None.
        groups: one key an image (its digest); images with the same key stay in the same fold.

    The strength chosen has the lowest held-out log-loss of those whose held-out accuracy is within a standard
    error of the best (after Breiman et al., *Classification and Regression Trees*, 1984, 3.4.3); equals go to
    the stronger, the simpler model. Accuracy alone turns on the few images that flip, so that on few images
    its winner is luck and overconfident; log-loss alone would pay for confidence with accuracy.

    Raises:
        InputError: if shapes, labels or groups do not fit, or a feature is not finite.
    """
    features, labels = _checked(features, labels, classes, l2, groups)
    centre, divisor = _scaling(features)
    rows, variance, axes = principal_axes(features, centre, divisor)
    equal = np.full((len(labels), 1), 1 / len(labels), np.float32)
    problem = LogisticProblem(rows, variance, labels, classes, equal)
    choice = _Choice(_FALLBACK_L2 if l2 is None else l2, (), (), problem.zeros())
    if l2 is None:
        choice = _cross_validate(problem, _folds(labels, groups, seed))
    solution = problem.minimise(choice.l2, choice.start, _FINAL_TOLERANCE, np.float64)[:, 0]
    weight = (axes.astype(np.float64) @ solution[:-1]) * divisor[:, None]
    bias = solution[-1] - centre @ weight
    return Head(
        np.ascontiguousarray(weight.T, np.float32),
        bias.astype(np.float32),
        choice.l2,
        choice.accuracies,
        choice.log_losses,
    )


def _checked(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    classes: int,
    l2: float | None,
    groups: Sequence[str] | None,
) -> tuple[Floats, Ints]:
    x, y = np.asarray(features), np.asarray(labels)
    if x.ndim != 2 or 0 in x.shape or y.shape != x.shape[:1]:
        raise InputError(
            f"a head needs features [N, D] and labels [N], got {list(x.shape)} and {list(y.shape)}"
        )
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= classes or classes < 2:
        raise InputError(f"labels must be integers in 0..{classes - 1}, of at least two classes")
    absent = np.flatnonzero(np.bincount(y, minlength=classes) == 0)
    if len(absent):
        raise InputError(f"class {absent[0]} has no training image: add some or leave the class out")
    if l2 is not None and not 0 < l2 < np.inf:
        raise InputError(f"the strength of the head's regularisation must be positive, not {l2}")
    if groups is not None and len(groups) != len(y):
        raise InputError(f"{len(groups)} groups for {len(y)} images: give one each")
    x = x.astype(np.float32, copy=False)
    finite = np.isfinite(x).all(1)
    if not finite.all():
        bad = int(np.argmin(finite))
        column = int(np.argmin(np.isfinite(x[bad])))
        raise InputError(
            f"{np.count_nonzero(~finite)} of {len(x)} images have NaN or infinite features (first: "
            f"image {bad}, feature {column}): the backbone overflows; use float32"
        )
    return x, y.astype(np.int64)


def _scaling(features: Floats) -> tuple[Doubles, Doubles]:
    """Centre and factor of each feature, so that the scaled ones have variance 1 on average.

    A scaled feature's variance is proportional to its own spread, up to a bound so that one feature in
    another unit cannot drown the rest. Constant features get the factor 0.
    """
    n = len(features)
    centre = features.mean(0, dtype=np.float64)
    variance = np.zeros_like(centre)
    for block in blocks(n):
        variance += np.square(features[block] - centre).sum(0) / n
    spread = np.sqrt(variance)
    varies = spread > np.maximum(1e-6 * np.abs(centre), 1e-30)
    if not varies.any():
        return centre, np.zeros_like(centre)
    kept = spread[varies]
    target = np.minimum(kept / np.median(kept), _LOUDEST)
    factor = np.zeros_like(centre)
    factor[varies] = np.sqrt(target / target.mean()) / kept
    return centre, factor


def _folds(labels: Ints, groups: Sequence[str] | None, seed: int) -> Ints:
    """Fold of each image, int ``[N]``; -1 for images that are only ever trained on.

    Groups dealt out in order of class, size and chance spread every class over the folds, so that even a
    class of two images always has one to train on. A class that is a single group cannot be held out.
    """
    keys = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, first, group, size = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    label = labels[first]
    order = np.lexsort((np.random.default_rng(seed).permutation(len(first)), -size, label))
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % _FOLDS
    fold[np.bincount(label)[label] == 1] = -1
    return fold[group.reshape(-1)]


@dataclass(frozen=True, eq=False)
class _Choice:
    l2: float
    accuracies: tuple[tuple[float, float], ...]
    log_losses: tuple[tuple[float, float], ...]
    start: Doubles


def _cross_validate(problem: LogisticProblem, fold: Ints) -> _Choice:
    """Try strengths from strong to weak, each from the last one's solution, until log-loss keeps rising."""
    one_fold = problem.rows.size * problem.classes
    usable = np.unique(fold[fold >= 0])[: max(1, _CV_PRODUCTS // one_fold)]
    if len(usable) == 0:
        return _Choice(_FALLBACK_L2, (), (), problem.zeros())
    training = (fold[:, None] != usable).astype(np.float32)
    folded = LogisticProblem(
        problem.rows, problem.mean_square, problem.labels, problem.classes, training / training.sum(0)
    )
    held, column = np.nonzero(fold[:, None] == usable)
    at, rises = folded.zeros(), 0
    accuracies: list[tuple[float, float]] = []
    log_losses: list[tuple[float, float]] = []
    starts: list[Doubles] = []
    for l2 in STRENGTHS:
        at = folded.minimise(l2, at, _CV_TOLERANCE, np.float32)
        accuracy, log_loss = _scores(folded, at, held, column)
        rises = rises + 1 if log_losses and log_loss > log_losses[-1][1] else 0
        accuracies.append((l2, accuracy))
        log_losses.append((l2, log_loss))
        starts.append(at.mean(1, keepdims=True))
        if rises == _RISES_TO_STOP:
            break
    best = _select([a for _, a in accuracies], [loss for _, loss in log_losses], len(held))
    return _Choice(STRENGTHS[best], tuple(accuracies), tuple(log_losses), starts[best])


def _select(accuracies: list[float], log_losses: list[float], images: int) -> int:
    top = max(accuracies)
    # One image is added to each side, since no error among few images does not mean no uncertainty.
    share = (top * images + 1) / (images + 2)
    within = top - np.sqrt(share * (1 - share) / images)
    return min((i for i, a in enumerate(accuracies) if a >= within), key=lambda i: (log_losses[i], i))


def _scores(folded: LogisticProblem, at: Doubles, held: Ints, column: Ints) -> tuple[float, float]:
    """Accuracy and mean log-loss of each held-out image under the fold that did not see it."""
    z = np.empty((len(held), folded.classes))
    for fold in np.unique(column):
        mine = column == fold
        z[mine] = folded.rows[held[mine]] @ at[:, fold].astype(np.float32)
    labels = folded.labels[held]
    z -= z.max(1, keepdims=True)
    true_z = z[np.arange(len(z)), labels]
    return float((z.argmax(1) == labels).mean()), float((np.log(np.exp(z).sum(1)) - true_z).mean())
