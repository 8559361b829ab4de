"""May this engine ship? Budgets against intervals, not against point estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from edgetl.gate.paired import images_needed, verdict
from edgetl.quantity import Quantity

Gate = Literal["passed", "failed", "undecided", "none"]


class Verdict(NamedTuple):
    """Of one budget; ``none`` where it was not asked for, or has nothing to say."""

    gate: Gate
    reasons: tuple[str, ...] = ()


def judge(*verdicts: Verdict) -> tuple[Gate, list[str]]:
    """The worst of the verdicts, and all their reasons, a sentence each."""
    gates = [verdict.gate for verdict in verdicts]
    order: tuple[Gate, ...] = ("failed", "undecided", "passed")
    worst: Gate = next((gate for gate in order if gate in gates), "none")
    return worst, [reason for verdict in verdicts for reason in verdict.reasons]


def judge_drop(drop: Quantity | None, budget: float | None) -> Verdict:
    """Of the accuracy lost against the float model, both in percentage points."""
    if budget is None:
        return Verdict("none")
    if drop is None:
        return Verdict(
            "undecided", (f"accuracy drop was not measured, so {budget:g} points can't be promised",)
        )
    result: Gate = verdict(drop, budget)
    reasons = (
        [] if drop.kind == "measured" else [f"the accuracy drop is {drop.kind}, not measured on the target"]
    )
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
    return Verdict(result, tuple(reasons))


def _of_its_kind(drop: Quantity) -> str:
    """Whatever is simulated, more images tell more of the simulation only."""
    return "" if drop.kind == "measured" else f" on the {drop.kind} drop"


def judge_latency(p50: Quantity | None, budget: float | None) -> Verdict:
    """Of the median latency, both in milliseconds; None where it was not measured."""
    if budget is None:
        return Verdict("none")
    if p50 is None:
        return Verdict(
            "undecided", (f"latency was not measured on the target, so {budget:g} ms can't be promised",)
        )
    if p50.high is not None and p50.high <= budget:
        return Verdict("passed")
    interval = f"[{p50.low:.3f}, {p50.high:.3f}] " if p50.low is not None and p50.high is not None else ""
    reason = f"p50 latency {p50.value:.3f} {interval}ms against {budget:g}"
    return Verdict("failed" if p50.low is not None and p50.low > budget else "undecided", (reason,))


def judge_fallback(placement: Mapping[str, Any] | None, budget: float) -> Verdict:
    """Of what runs elsewhere than on the device asked for, as a share (0..1) of nodes or of time.

    Args:
        placement: see ``backends.base.Placement.to_dict``; None where there is no engine yet.
    """
    if placement is None:
        return Verdict("none")
    nodes, time = placement["share_of_nodes"], placement["share_of_time"]
    elsewhere = max(1 - nodes, 1 - (1 if time is None else time))
    if elsewhere <= budget + 1e-9:
        return Verdict("none")
    of_time = "" if time is None else f" and {1 - time:.1%} of the time"
    names = placement["elsewhere"]
    which = f": {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""
    reason = (
        f"{1 - nodes:.1%} of the nodes{of_time} ran elsewhere than on {placement['device']}{which}; "
        f"allowed is {budget:.1%} (--max-fallback)"
    )
    return Verdict("failed", (reason,))
