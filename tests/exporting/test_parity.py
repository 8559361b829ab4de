from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import EdgetlError
from edgetl.exporting.parity import RELATIVE_TOLERANCE, compare, require

LOGITS = np.random.default_rng(0).normal(0, 3, (20, 4)).astype(np.float32)


def test_equal_logits_pass() -> None:
    found = compare(LOGITS, LOGITS)
    assert (found.n, found.max_abs, found.mean_abs, found.top1_agreement.value) == (20, 0, 0, 1)
    assert found.scale == pytest.approx(LOGITS.std())
    require(found)
    assert found.to_dict()["top1_agreement"]["n"] == 20


@pytest.mark.parametrize(("share", "passes"), [(0.5, True), (2.0, False)])
def test_tolerance_is_relative_to_the_spread(share: float, passes: bool) -> None:
    other = LOGITS.copy()
    other[3, 2] += share * RELATIVE_TOLERANCE * LOGITS.std()
    found = compare(LOGITS, other)
    if passes:
        require(found)
    else:
        with pytest.raises(EdgetlError, match="not the trained one"):
            require(found)


def test_one_changed_class_is_seen() -> None:
    other = LOGITS.copy()
    other[0, LOGITS[0].argmin()] += 100
    assert compare(LOGITS, other).top1_agreement.value == 19 / 20


@pytest.mark.parametrize(
    "other", [LOGITS[:3], LOGITS[:, :3], np.full_like(LOGITS, np.nan), np.full_like(LOGITS, np.inf)]
)
def test_what_cannot_be_compared(other: np.ndarray) -> None:
    with pytest.raises(EdgetlError):
        compare(LOGITS, other)


def test_no_images() -> None:
    with pytest.raises(EdgetlError, match="no images"):
        compare(LOGITS[:0], LOGITS[:0])
