from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from edgetl.errors import InputError
from edgetl.transfer.head import STRENGTHS, _folds, _select, fit_head


def _sparse_features(
    n: int, width: int, classes: int, *, seed: int = 0, signal: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative, sparse, correlated and of uneven spread, as pooled ReLU activations are."""
    world, rng = np.random.default_rng(99), np.random.default_rng(seed)
    means = signal * world.normal(size=(classes, 30))
    mixing = world.normal(size=(30, width)) / 5
    loudness = world.lognormal(-1, 1, width)
    labels = np.arange(n) % classes
    hidden = (means[labels] + rng.normal(size=(n, 30))) @ mixing + 0.5 * rng.normal(size=(n, width))
    return (loudness * np.maximum(hidden, 0)).astype(np.float32), labels


def _objective(
    features: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray, l2: float
) -> float:
    """The documented objective, written independently; ``weight`` is on the raw features."""
    x = features.astype(np.float64)
    spread = x.std(0)
    scale = np.sqrt(spread / np.median(spread))
    scale = scale / np.sqrt((scale**2).mean()) / spread
    loss = -log_softmax(x @ weight.T + bias, axis=1)[np.arange(len(x)), labels].mean()
    return float(loss + l2 / 2 * np.square(weight / scale).sum())


def _best_by_lbfgs(
    features: np.ndarray, labels: np.ndarray, start: np.ndarray, classes: int, l2: float
) -> float:
    x = features.astype(np.float64)
    spread = x.std(0)
    scale = np.sqrt(spread / np.median(spread))
    scale = scale / np.sqrt((scale**2).mean()) / spread
    x = (x - x.mean(0)) * scale
    truth = np.eye(classes)[labels]

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, classes)
        z = log_softmax(x @ w[:-1] + w[-1], axis=1)
        error = (np.exp(z) - truth) / len(x)
        loss = -(z * truth).sum() / len(x) + l2 / 2 * np.square(w[:-1]).sum()
        return loss, np.vstack([x.T @ error + l2 * w[:-1], error.sum(0)]).ravel()

    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-14, "gtol": 1e-9}
    return float(minimize(value, start.ravel(), jac=True, method="L-BFGS-B", options=options).fun)


@pytest.mark.parametrize(("n", "width"), [(240, 40), (60, 150)])
@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_an_independent_optimiser_finds_nothing_better(n: int, width: int, l2: float) -> None:
    features, labels = _sparse_features(n, width, 4)
    head = fit_head(features, labels, 4, l2=l2)
    ours = _objective(features, labels, head.weight.astype(np.float64), head.bias.astype(np.float64), l2)
    theirs = _best_by_lbfgs(features, labels, np.zeros((width + 1, 4)), 4, l2)
    assert ours <= theirs * (1 + 1e-6)


def test_the_cross_validated_head_is_at_its_optimum_too() -> None:
    features, labels = _sparse_features(200, 60, 3)
    head = fit_head(features, labels, 3)
    again = fit_head(features, labels, 3, l2=head.l2)
    assert np.allclose(head.weight, again.weight, rtol=1e-3, atol=1e-4 * np.abs(again.weight).max())
    assert again.cross_validation == ()
    assert again.log_loss == ()


def test_strengths_are_tried_from_strong_to_weak_until_log_loss_keeps_rising() -> None:
    features, labels = _sparse_features(300, 100, 5, signal=0.4)
    head = fit_head(features, labels, 5)
    tried = [l2 for l2, _ in head.cross_validation]
    assert tried == list(STRENGTHS[: len(tried)]) == [l2 for l2, _ in head.log_loss]
    assert len(tried) < len(STRENGTHS)
    assert head.l2 in tried


def test_log_loss_decides_among_accuracies_that_chance_cannot_tell_apart() -> None:
    losses = [0.9, 0.5, 0.4, 0.6]
    assert _select([0.80, 0.84, 0.83, 0.84], losses, images=100) == 2
    assert _select([0.80, 0.84, 0.83, 0.84], losses, images=10_000) == 1
    assert _select([0.84, 0.84], [0.5, 0.5], images=100) == 0
    assert _select([1.0, 1.0, 0.98], [0.3, 0.2, 0.1], images=100) == 1


def test_cross_validation_predicts_accuracy_on_new_images() -> None:
    features, labels = _sparse_features(500, 200, 5, signal=0.4)
    head = fit_head(features, labels, 5)
    fresh, truth = _sparse_features(4000, 200, 5, seed=1, signal=0.4)
    accuracy = (head.logits(fresh).argmax(1) == truth).mean()
    assert 0.5 < accuracy < 0.98
    assert dict(head.cross_validation)[head.l2] == pytest.approx(accuracy, abs=0.06)


def test_labels_without_meaning_get_the_strongest_head() -> None:
    features, _ = _sparse_features(200, 80, 2)
    labels = np.random.default_rng(3).integers(0, 2, 200)
    assert fit_head(features, labels, 2).l2 >= 1


def test_same_input_same_bytes() -> None:
    features, labels = _sparse_features(150, 60, 3)
    one, two = fit_head(features, labels, 3, seed=4), fit_head(features, labels, 3, seed=4)
    assert one.weight.tobytes() == two.weight.tobytes()
    assert one.bias.tobytes() == two.bias.tobytes()
    assert one.cross_validation == two.cross_validation
    assert one.log_loss == two.log_loss


def test_the_input_is_left_alone() -> None:
    features, labels = _sparse_features(60, 20, 2)
    before = features.copy()
    fit_head(features, labels, 2)
    assert np.array_equal(features, before)


def test_constant_features_get_no_weight() -> None:
    features, labels = _sparse_features(90, 20, 3)
    features[:, 4], features[:, 7] = 0, 1234.567
    head = fit_head(features, labels, 3)
    assert not head.weight[:, [4, 7]].any()
    rest = np.delete(features, [4, 7], axis=1)
    without = fit_head(rest, labels, 3)
    assert np.allclose(head.logits(features), without.logits(rest), atol=2e-3)


def test_features_without_any_information() -> None:
    head = fit_head(np.ones((9, 5), np.float32), np.array([0] * 6 + [1] * 3), 2)
    assert not head.weight.any()
    assert np.exp(head.bias[1] - head.bias[0]) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("factor", [1e-12, 1e25])
def test_a_common_unit_does_not_matter(factor: float) -> None:
    features, labels = _sparse_features(120, 40, 3)
    scaled = (features * np.float64(factor)).astype(np.float32)
    plain, other = fit_head(features, labels, 3), fit_head(scaled, labels, 3)
    assert plain.l2 == other.l2
    assert np.allclose(plain.logits(features), other.logits(scaled), atol=2e-2)


def test_one_huge_feature_does_not_drown_the_rest() -> None:
    features, labels = _sparse_features(200, 40, 3)
    features[:, 0] = np.random.default_rng(0).normal(size=200) * 1e20
    head = fit_head(features, labels, 3)
    assert np.isfinite(head.weight).all()
    assert (head.logits(features).argmax(1) == labels).mean() > 0.9


def test_half_precision_features_and_small_integers_do() -> None:
    features, labels = _sparse_features(90, 30, 3)
    half = features.astype(np.float16)
    head = fit_head(half, labels.astype(np.int8), 3)
    same = fit_head(half.astype(np.float32), labels, 3)
    assert head.weight.dtype == head.bias.dtype == head.logits(half).dtype == np.float32
    assert head.weight.tobytes() == same.weight.tobytes()


def test_a_class_of_two_and_a_class_of_one() -> None:
    features, labels = _sparse_features(102, 40, 3, signal=2.0)
    labels = np.where(labels == 2, 0, labels)
    features[:3] += 3
    labels[:2], labels[2] = 2, 3
    head = fit_head(features, labels, 4)
    assert head.cross_validation
    assert np.isfinite([value for _, value in head.log_loss]).all()
    assert head.logits(features)[:3].argmax(1).tolist() == [2, 2, 3]


def test_one_image_a_class_leaves_nothing_to_hold_out() -> None:
    head = fit_head(np.eye(3, dtype=np.float32), np.arange(3), 3)
    assert head.cross_validation == ()
    assert head.logits(np.eye(3)).argmax(1).tolist() == [0, 1, 2]


def test_separable_classes_have_a_finite_head() -> None:
    features = np.repeat(np.array([[-1.0], [1.0]], np.float32), 20, axis=0)
    head = fit_head(features, np.repeat([0, 1], 20), 2)
    assert head.l2 == STRENGTHS[-1]
    assert np.isfinite(head.weight).all()


def test_folds_are_stratified_and_keep_groups_whole() -> None:
    labels = np.repeat(np.arange(4), [50, 25, 2, 1])
    fold = _folds(labels, None, 0)
    for label in (0, 1):
        assert np.ptp(np.bincount(fold[labels == label], minlength=5)) <= 1
    assert len(set(fold[labels == 2])) == 2
    assert fold[labels == 3].tolist() == [-1]
    groups = [f"{label}-{index % 9}" for index, label in enumerate(labels)]
    grouped = _folds(labels, groups, 0)
    assert all(len(set(grouped[np.array(groups) == group])) == 1 for group in set(groups))


def test_duplicates_do_not_flatter_the_accuracy() -> None:
    """Random features and labels, each image three times: only folds that part the copies can score."""
    rng = np.random.default_rng(0)
    features = np.tile(rng.normal(size=(60, 80)).astype(np.float32), (3, 1))
    labels = np.tile(np.arange(60) % 2, 3)
    digests = [str(index % 60) for index in range(180)]
    honest = fit_head(features, labels, 2, groups=digests).cross_validation
    flattered = fit_head(features, labels, 2).cross_validation
    assert max(accuracy for _, accuracy in honest) < 0.7 < max(accuracy for _, accuracy in flattered)


def test_many_images_hold_out_fewer_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = _sparse_features(300, 50, 3, signal=0.5)
    whole = fit_head(features, labels, 3)
    monkeypatch.setattr("edgetl.transfer.head._CV_PRODUCTS", 1)
    part = fit_head(features, labels, 3)
    assert {round(accuracy * 60, 6) % 1 for _, accuracy in part.cross_validation} == {0}
    assert whole.cross_validation != part.cross_validation
    assert 0.1 <= part.l2 / whole.l2 <= 10


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_names_the_image_with_a_feature_that_is_no_number(value: float) -> None:
    features, labels = _sparse_features(30, 10, 2)
    features[7, 3] = value
    with pytest.raises(InputError, match=r"1 of 30 images have NaN or infinite.*image 7, feature 3"):
        fit_head(features, labels, 2)


def test_refuses() -> None:
    features, labels = _sparse_features(30, 10, 2)
    with pytest.raises(InputError, match="class 2 has no training image"):
        fit_head(features, labels, 3)
    with pytest.raises(InputError, match=r"labels must be integers in 0\.\.1"):
        fit_head(features, labels + 1, 2)
    with pytest.raises(InputError, match="at least two classes"):
        fit_head(features, labels * 0, 1)
    with pytest.raises(InputError, match=r"\[30, 10\] and \[29\]"):
        fit_head(features, labels[1:], 2)
    with pytest.raises(InputError, match="2 groups for 30 images"):
        fit_head(features, labels, 2, groups=["a", "b"])
    with pytest.raises(InputError, match="must be positive"):
        fit_head(features, labels, 2, l2=0.0)


def test_a_usual_data_set_takes_a_moment() -> None:
    features, labels = _sparse_features(318, 1280, 2)
    start = time.process_time()
    fit_head(features, labels, 2)
    assert time.process_time() - start < 2, "CPU seconds of all threads; about 0.1 on a quiet machine"
