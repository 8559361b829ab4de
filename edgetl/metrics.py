"""What a classifier gets right: accuracy, precision, recall, F1 and the confusion matrix, with intervals.

Shares of images (accuracy, precision and recall of one class) carry Wilson's interval. Averages over
classes and F1 are no shares, so theirs is a percentile bootstrap over images (Efron & Tibshirani, *An
Introduction to the Bootstrap*, 1993, chapter 13), stratified by true class because edgetl's splits are. Its
replicates are drawn as confusion counts, one multinomial per true class, which is the same distribution as
drawing images and needs no pass over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import InputError
from edgetl.quantity import Quantity, proportion

REPLICATES = 1000
"""Bootstrap replicates behind each interval."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassMetrics:
    """One class. A figure is None where nothing defines it, e.g. precision where nothing was predicted.

    ``precision`` is a share of the images predicted as this class, ``recall`` a share of the ``support``
    images that are of it; ``f1`` counts the images that are either.
    """

    label: int
    precision: Quantity | None
    recall: Quantity | None
    f1: Quantity | None
    support: int


@dataclass(frozen=True, eq=False)
class Metrics:
    """Figures of one classifier on one set of images; ``confusion`` is int64 ``[classes, classes]``.

    Rows of ``confusion`` are true classes, columns predicted ones. Macro averages are over the classes that
    have images; a class that has images but is never predicted counts as precision 0 there, so that
    ignoring a class is never rewarded.
    """

    accuracy: Quantity
    macro_precision: Quantity
    macro_recall: Quantity
    macro_f1: Quantity
    per_class: tuple[ClassMetrics, ...]
    confusion: Counts

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """The metrics as plain JSON values.

        Raises:
            InputError: if there are not as many names as classes.
        """
        if len(class_names) != len(self.per_class):
            raise InputError(f"{len(class_names)} class names for {len(self.per_class)} classes: name each")
        return {
            "accuracy": self.accuracy.to_dict(),
            "macro_precision": self.macro_precision.to_dict(),
            "macro_recall": self.macro_recall.to_dict(),
            "macro_f1": self.macro_f1.to_dict(),
            "per_class": [
                {
                    "class": class_names[entry.label],
                    "label": entry.label,
                    "precision": _or_null(entry.precision),
                    "recall": _or_null(entry.recall),
                    "f1": _or_null(entry.f1),
                    "support": entry.support,
                }
                for entry in self.per_class
            ],
            "confusion": self.confusion.tolist(),
        }


def evaluate(outputs: NDArray[Any], labels: NDArray[Any], classes: int, *, seed: int = 0) -> Metrics:
    """Compare a classifier's outputs with the truth.

    Args:
        outputs: logits, floating ``[N, classes]``, or predicted classes, integer ``[N]``.
        labels: integer ``[N]``, the true classes.
        classes: number of classes.
        seed: of the bootstrap; the same seed gives the same intervals.

    Raises:
        InputError: if shapes or labels do not fit, there are no images, or a logit is NaN.
    """
    truth = _class_indices(labels, classes, "labels")
    predicted = _predictions(outputs, classes)
    if len(truth) != len(predicted):
        raise InputError(f"{len(predicted)} outputs for {len(truth)} labels: they must be of the same images")
    cells = np.bincount(truth * classes + predicted, minlength=classes * classes)
    confusion = cells.reshape(classes, classes).astype(np.int64)
    return _from_confusion(confusion, seed)


def _from_confusion(confusion: Counts, seed: int) -> Metrics:
    n = int(confusion.sum())
    hits, support, called = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)
    hit_draws, called_draws = _resample(confusion, np.random.default_rng(seed))
    f1_draws = _f1(hit_draws, support, called_draws)
    f1 = _f1(hits, support, called)
    seen = support > 0

    def macro(per_class: Floats, draws: Floats) -> Quantity:
        return _with_bootstrap(float(per_class[seen].mean()), draws[:, seen].mean(1), n)

    return Metrics(
        accuracy=proportion(int(hits.sum()), n),
        macro_precision=macro(_ratio(hits, called), _ratio(hit_draws, called_draws)),
        macro_recall=macro(_ratio(hits, support), _ratio(hit_draws, support)),
        macro_f1=macro(f1, f1_draws),
        per_class=tuple(
            ClassMetrics(
                label=label,
                precision=_share(hits[label], called[label]),
                recall=_share(hits[label], support[label]),
                f1=_class_f1(
                    f1[label], f1_draws[:, label], int(support[label] + called[label] - hits[label])
                ),
                support=int(support[label]),
            )
            for label in range(len(confusion))
        ),
        confusion=confusion,
    )


def _resample(confusion: Counts, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Bootstrap replicates of hits and of images predicted per class, int64 ``[REPLICATES, classes]``."""
    classes = len(confusion)
    hits = np.zeros((REPLICATES, classes), np.int64)
    called = np.zeros((REPLICATES, classes), np.int64)
    for label in np.flatnonzero(confusion.sum(1)):
        row = confusion[label]
        columns = np.flatnonzero(row)
        draws = rng.multinomial(row.sum(), row[columns] / row.sum(), size=REPLICATES)
        called[:, columns] += draws
        hits[:, label] = draws[:, columns == label].sum(1)
    return hits, called


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Quotients, 0 where the denominator is."""
    return np.asarray(numerator / np.maximum(denominator, 1), np.float64)


def _f1(hits: Counts, support: Counts, called: Counts) -> Floats:
    return _ratio(2 * hits, support + called)


def _share(part: np.int64, whole: np.int64) -> Quantity | None:
    return proportion(int(part), int(whole)) if whole > 0 else None


def _class_f1(value: np.float64, draws: Floats, n: int) -> Quantity | None:
    return _with_bootstrap(float(value), draws, n) if n > 0 else None


def _with_bootstrap(value: float, draws: Floats, n: int) -> Quantity:
    """The percentile interval; none where all replicates agree, since a sample without a single error (or a
    single hit) does not make the figure certain."""
    low, high = (float(q) for q in np.quantile(draws, (0.025, 0.975)))
    if draws.min() == draws.max():
        return Quantity(value, None, None, n)
    return Quantity(value, min(low, value), max(high, value), n)


def _or_null(quantity: Quantity | None) -> dict[str, Any] | None:
    return None if quantity is None else quantity.to_dict()


def _predictions(outputs: NDArray[Any], classes: int) -> NDArray[np.int64]:
    outputs = np.asarray(outputs)
    if outputs.ndim == 1:
        return _class_indices(outputs, classes, "predictions")
    if outputs.ndim != 2 or outputs.shape[1] != classes:
        raise InputError(f"logits must have shape [images, {classes}], got {list(outputs.shape)}")
    bad = np.isnan(outputs).any(1)
    if bad.any():
        raise InputError(
            f"{np.count_nonzero(bad)} of {len(outputs)} images have NaN logits (first: image {bad.argmax()}"
            "): the engine is broken or its precision overflows"
        )
    return np.asarray(outputs.argmax(1), np.int64)


def _class_indices(values: NDArray[Any], classes: int, name: str) -> NDArray[np.int64]:
    values = np.asarray(values)
    if values.ndim != 1 or len(values) == 0 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"{name} must be integers [N], N > 0, got {values.dtype} {list(values.shape)}")
    if values.min() < 0 or values.max() >= classes:
        raise InputError(f"{name} must be in 0..{classes - 1}, got {values.min()}..{values.max()}")
    return values.astype(np.int64)
