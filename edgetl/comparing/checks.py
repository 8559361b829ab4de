"""One figure of two documents, and what is to be thought of its change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgetl.comparing.intervals import joint
from edgetl.quantity import Quantity

Verdict = Literal["regression", "improvement", "no change", "undecided", "not comparable"]
VERDICTS: tuple[Verdict, ...] = ("regression", "undecided", "not comparable", "improvement", "no change")
"""From the one to look at first."""

GATE = "gate"
"""The name of the check that tells whether the budgets asked for are kept."""

Unit = Literal["ms", "per_s", "share", "bytes", "text"]


@dataclass(frozen=True)
class Check:
    """One figure in both documents.

    Attributes:
        base: in the older document; None where it has none.
        new: as ``base``.
        change: ``new / base`` of times, rates and sizes; ``new - base`` in percentage points of a share. The
            intervals of one comparison hold together at 95 %.
        why: one sentence.
    """

    name: str
    unit: Unit
    base: Quantity | str | None
    new: Quantity | str | None
    change: Quantity | None
    verdict: Verdict
    why: str

    @property
    def fails(self) -> bool:
        """A regression fails, and so does a gate that NEW does not pass, whatever it was in BASE."""
        return self.verdict == "regression" or (self.name == GATE and self.new == "failed")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Change:
    """A change before it is judged together with the others.

    Attributes:
        at: the change with its interval at a confidence (0..1): ``new / base`` of times and rates,
            ``new - base`` in percentage points of a share.
        evidence: what the change was computed from, in a few words.
        worse: the direction in which it is worse: 1 up, -1 down.
        accepted: how far worse it may be: a relative part of a ratio, percentage points of a share.
        resolution: the change that must be ruled out for "no change", as ``accepted``.
        settled: the verdict and why, where it does not depend on the interval.
    """

    name: str
    unit: Unit
    base: Quantity
    new: Quantity
    at: Callable[[float], Quantity]
    evidence: str
    worse: Literal[1, -1]
    accepted: float
    resolution: float
    settled: tuple[Verdict, str] | None = None


def judge_all(changes: Sequence[Check | Change], checks: int) -> tuple[Check, ...]:
    """Verdicts over changes whose intervals are widened to hold together with all ``checks`` intervals.

    Without that, of ten figures that did not change one would be called changed in four comparisons of ten.
    """
    confidence = joint(checks)
    return tuple(item if isinstance(item, Check) else _judge(item, confidence) for item in changes)


def _judge(item: Change, confidence: float) -> Check:
    logarithmic = item.unit != "share"
    change = item.at(confidence)
    verdict, why = _verdict(item, change, logarithmic)
    return Check(item.name, item.unit, item.base, item.new, change, verdict, why)


def _verdict(item: Change, change: Quantity, logarithmic: bool) -> tuple[Verdict, str]:
    if item.settled:
        return item.settled
    if change.low is None or change.high is None:
        return "undecided", f"{item.evidence}: too few samples for an interval"

    def limits(far: float) -> tuple[float, float]:
        return (1 / (1 + far), 1 + far) if logarithmic else (-far, far)

    accepted, resolution = limits(item.accepted), limits(max(item.accepted, item.resolution))
    beyond: list[Verdict] = ["regression", "improvement"]
    above, below = beyond if item.worse > 0 else beyond[::-1]
    if change.low > accepted[1]:
        return above, f"{item.evidence}: the whole interval is above {_written(accepted[1], logarithmic)}"
    if change.high < accepted[0]:
        return below, f"{item.evidence}: the whole interval is below {_written(accepted[0], logarithmic)}"
    lowest, highest = (_written(end, logarithmic) for end in resolution)
    if resolution[0] <= change.low and change.high <= resolution[1]:
        return "no change", f"{item.evidence}: the interval is within {lowest} to {highest}"
    return "undecided", f"{item.evidence}: the interval is too wide to tell"


def _written(limit: float, logarithmic: bool) -> str:
    return f"{limit:.3g}" if logarithmic else f"{limit + 0.0:+.3g} points" if limit else "0 points"
