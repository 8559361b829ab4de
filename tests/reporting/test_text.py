from __future__ import annotations

import pytest

from edgetl.quantity import Quantity
from edgetl.reporting.text import MILLISECONDS, PERCENT, POINTS, fixed, interval, note, significant


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.04123, "0.0412"),
        (2.405, "2.40"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (-2.5, "−2.50"),
    ],
)
def test_significant(value: float, written: str) -> None:
    assert significant(value) == written


def test_no_negative_zero() -> None:
    assert fixed(-0.001, 2) == "0.00"


def test_intervals() -> None:
    assert interval(Quantity(0.969, 0.947, 0.982, 413), PERCENT) == "94.7–98.2"
    assert interval(Quantity(0.48, -0.6, 1.5, 413), POINTS) == "−0.60\u00a0to\u00a01.50"
    assert interval(Quantity(3.0, 2.9, None, 20), MILLISECONDS) == "≥\u00a02.90"
    assert interval(Quantity(3.0, None, None, 1), MILLISECONDS) == ""


def test_note_says_what_stands_behind_a_number() -> None:
    assert note(Quantity(2.0, 1.9, 2.1, 1500, "simulated"), MILLISECONDS) == (
        "95\u00a0% interval 1.90–2.10\u00a0ms, n = 1,500, simulated"
    )
    assert note(Quantity(2.0, None, None, 0), MILLISECONDS) == "no interval, measured"
