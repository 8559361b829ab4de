from __future__ import annotations

import json
import time

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from edgetl.errors import InputError
from edgetl.metrics import evaluate
from edgetl.quantity import Quantity, proportion


def _noisy(n: int, classes: int, seed: int, signal: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += signal
    return logits, labels


def test_agrees_with_scikit_learn() -> None:
    logits, labels = _noisy(700, 7, 0)
    predicted = logits.argmax(1)
    metrics = evaluate(logits, labels, 7)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted)
    assert np.array_equal(metrics.confusion, confusion_matrix(labels, predicted))
    assert metrics.accuracy == proportion(int((predicted == labels).sum()), 700)
    assert metrics.macro_precision.value == pytest.approx(precision.mean())
    assert metrics.macro_recall.value == pytest.approx(recall.mean())
    assert metrics.macro_f1.value == pytest.approx(f1.mean())
    for entry in metrics.per_class:
        assert entry.precision is not None
        assert entry.recall is not None
        assert entry.f1 is not None
        assert entry.precision.value == pytest.approx(precision[entry.label])
        assert entry.precision.n == int((predicted == entry.label).sum())
        assert entry.recall.value == pytest.approx(recall[entry.label])
        assert entry.recall.n == entry.support == support[entry.label]
        assert entry.f1.value == pytest.approx(f1[entry.label])


def test_predictions_do_as_well_as_logits() -> None:
    logits, labels = _noisy(200, 4, 1)
    names = list("abcd")
    assert evaluate(logits, labels, 4).to_dict(names) == evaluate(logits.argmax(1), labels, 4).to_dict(names)


def test_rows_are_the_truth() -> None:
    assert evaluate(np.array([1, 1, 1]), np.array([0, 0, 1]), 2).confusion.tolist() == [[0, 2], [0, 1]]


def test_a_class_never_predicted_has_no_precision_but_counts_against_the_average() -> None:
    metrics = evaluate(np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1]), 2)
    ignored = metrics.per_class[1]
    assert ignored.precision is None
    assert ignored.recall is not None
    assert ignored.recall.value == 0
    assert ignored.f1 is not None
    assert ignored.f1.value == 0
    assert metrics.macro_precision.value == pytest.approx(0.25)


def test_a_class_without_images_is_not_averaged() -> None:
    metrics = evaluate(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1]), 4)
    assert metrics.macro_recall.value == pytest.approx(0.75)
    assert metrics.per_class[2].recall is None
    assert metrics.per_class[2].precision is not None
    untouched = metrics.per_class[3]
    assert (untouched.precision, untouched.recall, untouched.f1, untouched.support) == (None, None, None, 0)


def test_no_error_seen_gives_no_bootstrap_interval() -> None:
    metrics = evaluate(np.arange(10) % 2, np.arange(10) % 2, 2)
    assert metrics.macro_f1 == Quantity(1.0, None, None, 10)
    assert metrics.accuracy.low is not None
    assert metrics.accuracy.low < 0.75


def test_intervals_are_those_of_drawing_images_within_each_class() -> None:
    logits, labels = _noisy(300, 3, 2)
    predicted = logits.argmax(1)
    rng = np.random.default_rng(5)
    members = [np.flatnonzero(labels == label) for label in range(3)]
    draws = []
    for _ in range(1000):
        drawn = np.concatenate([rng.choice(m, len(m)) for m in members])
        cells = np.bincount(labels[drawn] * 3 + predicted[drawn], minlength=9).reshape(3, 3)
        draws.append((2 * np.diagonal(cells) / (cells.sum(0) + cells.sum(1))).mean())
    got = evaluate(logits, labels, 3).macro_f1
    assert [got.low, got.high] == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.008)


def test_the_interval_covers_the_true_macro_recall() -> None:
    rng = np.random.default_rng(0)
    recalls, covered = np.array([0.9, 0.7, 0.8]), 0
    labels = np.repeat(np.arange(3), 60)
    for seed in range(200):
        predicted = np.where(rng.random(180) < recalls[labels], labels, (labels + 1) % 3)
        interval = evaluate(predicted, labels, 3, seed=seed).macro_recall
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 0.8 <= interval.high
    assert 0.89 <= covered / 200 <= 0.99


def test_same_seed_same_intervals() -> None:
    logits, labels = _noisy(100, 3, 3)
    assert evaluate(logits, labels, 3).macro_f1 == evaluate(logits, labels, 3).macro_f1
    assert evaluate(logits, labels, 3).macro_f1 != evaluate(logits, labels, 3, seed=1).macro_f1


def test_serialises() -> None:
    logits, labels = _noisy(50, 3, 4)
    metrics = evaluate(logits, labels, 3)
    document = json.loads(json.dumps(metrics.to_dict(["cat", "dog", "owl"])))
    assert document["per_class"][2]["class"] == "owl"
    assert Quantity.from_dict(document["macro_f1"]) == metrics.macro_f1
    with pytest.raises(InputError, match="2 class names for 3 classes"):
        metrics.to_dict(["cat", "dog"])


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (
            np.array([[0.0, np.nan], [1.0, 0.0]]),
            np.array([0, 1]),
            "1 of 2 images have NaN logits .first: image 0",
        ),
        (np.zeros((2, 3)), np.array([0, 1]), "shape"),
        (np.array([0, 1, 1]), np.array([0, 1]), "3 outputs for 2 labels"),
        (np.array([0, 2]), np.array([0, 1]), "predictions must be in 0..1"),
        (np.array([0, 1]), np.array([0, -1]), "labels must be in 0..1"),
        (np.array([0.5, 1.0]), np.array([0, 1]), "integers"),
        (np.array([], int), np.array([], int), "N > 0"),
    ],
)
def test_refuses(outputs: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(outputs, labels, 2)


def test_infinite_logits_still_rank() -> None:
    assert evaluate(np.array([[-np.inf, 0.0], [np.inf, 0.0]]), np.array([1, 0]), 2).accuracy.value == 1


def test_fifty_thousand_images_are_quick() -> None:
    logits, labels = _noisy(50_000, 10, 5)
    start = time.process_time()
    evaluate(logits, labels, 10)
    assert time.process_time() - start < 0.5
