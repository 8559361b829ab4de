"""May this engine ship? Accuracy and latency budgets against intervals, not against point estimates."""

from __future__ import annotations

from typing import Literal

from edgetl.gate.paired import images_needed, verdict
from edgetl.quantity import Quantity

Gate = Literal["passed", "failed", "undecided", "none"]


def judge(
    drop: Quantity | None, p50_ms: Quantity | None, max_drop: float | None, max_latency: float | None
) -> tuple[Gate, list[str]]:
    """The verdict over all budgets asked for, and a sentence for each that is not met.

    Args:
        drop: accuracy lost against the float model, percentage points.
        p50_ms: median latency, milliseconds; None where it was not measured.
        max_drop: budget in percentage points, or None.
        max_latency: budget in milliseconds, or None.
    """
    verdicts: list[Gate] = []
    reasons: list[str] = []
    if max_drop is not None:
        verdicts.append(_judge_drop(drop, max_drop, reasons))
    if max_latency is not None:
        verdicts.append(_judge_latency(p50_ms, max_latency, reasons))
    for worst in ("failed", "undecided", "passed"):
        if worst in verdicts:
            return worst, reasons
    return "none", reasons


def _judge_drop(drop: Quantity | None, budget: float, reasons: list[str]) -> Gate:
    if drop is None:
        reasons.append(f"accuracy drop was not measured, so {budget:g} points can't be promised")
        return "undecided"
    result: Gate = verdict(drop, budget)
    if drop.kind != "measured":
        reasons.append(f"the accuracy drop is {drop.kind}, not measured on the target")
    interval = f"[{drop.low:.2f}, {drop.high:.2f}] " if drop.low is not None and drop.high is not None else ""
    if result == "failed":
        reasons.append(f"accuracy drop {drop.value:.2f} {interval}points exceeds {budget:g}")
    if result == "undecided":
        needed = images_needed(drop, budget)
        more = (
            f"about {needed - drop.n:,} more held-out images would decide{_of_its_kind(drop)}"
            if needed
            else "no feasible number of images decides"
        )
        reasons.append(f"accuracy drop {drop.value:.2f} {interval}points against {budget:g}: {more}")
    return result


def _of_its_kind(drop: Quantity) -> str:
    """Whatever is simulated, more images tell more of the simulation only."""
    return "" if drop.kind == "measured" else f" on the {drop.kind} drop"


def _judge_latency(p50: Quantity | None, budget: float, reasons: list[str]) -> Gate:
    if p50 is None:
        reasons.append(f"latency was not measured on the target, so {budget:g} ms can't be promised")
        return "undecided"
    if p50.high is not None and p50.high <= budget:
        return "passed"
    interval = f"[{p50.low:.3f}, {p50.high:.3f}] " if p50.low is not None and p50.high is not None else ""
    reasons.append(f"p50 latency {p50.value:.3f} {interval}ms against {budget:g}")
    return "failed" if p50.low is not None and p50.low > budget else "undecided"
