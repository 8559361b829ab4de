from __future__ import annotations

import pytest

from edgetl.gate.judge import Gate, judge, judge_drop, judge_fallback, judge_latency
from edgetl.quantity import Quantity


def gate(
    lost: Quantity | None, p50: Quantity | None, max_drop: float | None, max_latency: float | None
) -> tuple[Gate, list[str]]:
    return judge(judge_drop(lost, max_drop), judge_latency(p50, max_latency))


def drop(low: float, value: float, high: float) -> Quantity:
    return Quantity(value, low, high, 400)


FAST = Quantity(2.0, 1.9, 2.1, 1000)
NEAR = Quantity(2.0, 1.9, 2.6, 1000)
SLOW = Quantity(3.0, 2.9, 3.1, 1000)


@pytest.mark.parametrize(
    ("lost", "p50", "max_drop", "max_latency", "expected"),
    [
        (None, None, None, None, "none"),
        (drop(0, 0.2, 0.5), FAST, None, None, "none"),
        (drop(0, 0.2, 0.5), None, 1, None, "passed"),
        (drop(0, 0.2, 1.0), None, 1, None, "passed"),
        (drop(0, 0.8, 1.5), None, 1, None, "undecided"),
        (drop(1.5, 2, 2.5), None, 1, None, "failed"),
        (None, None, 1, None, "undecided"),
        (None, FAST, None, 2.5, "passed"),
        (None, NEAR, None, 2.5, "undecided"),
        (None, SLOW, None, 2.5, "failed"),
        (None, None, None, 2.5, "undecided"),
        (drop(0, 0.2, 0.5), SLOW, 1, 2.5, "failed"),
        (drop(0, 0.8, 1.5), FAST, 1, 2.5, "undecided"),
        (drop(0, 0.2, 0.5), FAST, 1, 2.5, "passed"),
        (drop(1.5, 2, 2.5), NEAR, 1, 2.5, "failed"),
        (None, Quantity(2.0, None, None, 3), None, 2.5, "undecided"),
        (None, Quantity(3.0, None, None, 3), None, 2.5, "undecided"),
        (None, Quantity(2.0, 0.0, 2.6, 9), None, 1.0, "undecided"),
    ],
)
def test_verdicts(
    lost: Quantity | None, p50: Quantity | None, max_drop: float, max_latency: float, expected: str
) -> None:
    verdict, reasons = gate(lost, p50, max_drop, max_latency)
    assert verdict == expected
    assert bool(reasons) == (expected in ("failed", "undecided"))
    assert all("\n" not in reason and "  " not in reason for reason in reasons)


def test_reasons_hold_the_numbers() -> None:
    _, (accuracy, latency) = gate(drop(1.5, 2, 2.5), SLOW, 1, 2.5)
    assert accuracy == "accuracy drop 2.00 [1.50, 2.50] points exceeds 1"
    assert latency == "p50 latency 3.000 [2.900, 3.100] ms against 2.5"


def test_undecided_says_how_many_more_images() -> None:
    _, (reason,) = gate(drop(-0.2, 0.5, 1.2), None, 1, None)
    assert "more held-out images would decide" in reason


@pytest.mark.parametrize(
    ("nodes", "time", "budget", "expected"),
    [
        (1.0, 1.0, 0.0, "none"),
        (1.0, None, 0.0, "none"),
        (0.98, None, 0.0, "failed"),
        (0.98, 0.99, 0.02, "none"),
        (0.98, 0.9, 0.02, "failed"),
        (0.9, 0.99, 0.1, "none"),
    ],
)
def test_what_runs_elsewhere(nodes: float, time: float | None, budget: float, expected: str) -> None:
    placement = {"device": "NPU", "share_of_nodes": nodes, "share_of_time": time, "elsewhere": ["a", "b"]}
    verdict, reasons = judge(judge_fallback(placement, budget))
    assert verdict == expected
    assert bool(reasons) == (expected == "failed")
    assert all("--max-fallback" in reason and "a, b" in reason for reason in reasons)


def test_nothing_is_known_of_an_engine_that_is_not_built_yet() -> None:
    assert judge(judge_fallback(None, 0.0)) == ("none", [])
