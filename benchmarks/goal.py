"""One goal: a figure, what it was measured against, and whether it was met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Comparison = Literal[">=", "<="]
_HARSHEST_FIRST = ("MISSED", "not measured", "met", "figure")


@dataclass(frozen=True)
class Goal:
    """A figure with its threshold.

    Attributes:
        value: None where it was not measured; ``note`` then says why.
        low: lower end of the interval; None where there is none.
        high: upper end of it.
        interval: what the interval is, such as ``min..max of 3 rounds``.
        comparison: how ``value`` must stand to ``threshold``.
        threshold: None for a figure that is told but is no goal.
        against: what it was measured against, and on what.
    """

    area: str
    what: str
    value: float | None
    unit: str
    against: str
    comparison: Comparison = ">="
    threshold: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value reaches the threshold; None if it was not measured or is no goal."""
        if self.value is None or self.threshold is None:
            return None
        return self._reaches(self.value)

    @property
    def close(self) -> bool:
        """Whether the interval has the threshold in it, so that the verdict might be chance."""
        if self.met is None or self.low is None or self.high is None:
            return False
        return self._reaches(self.low) != self._reaches(self.high)

    @property
    def status(self) -> str:
        if self.value is None:
            return "not measured"
        return {None: "figure", True: "met", False: "MISSED"}[self.met]

    def _reaches(self, value: float) -> bool:
        assert self.threshold is not None
        return value >= self.threshold if self.comparison == ">=" else value <= self.threshold

    def line(self) -> str:
        """The goal in one line."""
        parts = [f"{self.area:8} {self.status:12} {self.what}:"]
        if self.value is not None:
            parts.append(_number(self.value, self.unit))
            if self.low is not None and self.high is not None:
                ends = f"{_number(self.low)} .. {_number(self.high)}"
                parts.append(f"({ends}{', ' + self.interval if self.interval else ''})")
        if self.threshold is not None:
            parts.append(f"[goal {self.comparison} {_number(self.threshold, self.unit)}]")
        parts.append(f"against {self.against}")
        if self.close:
            parts.append("; the interval has the goal in it")
        if self.note:
            parts.append(f"; {self.note}")
        return " ".join(parts).replace(" ;", ";")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "met": self.met, "status": self.status}


def summary(goals: Iterable[Goal]) -> str:
    """How many goals came out how, such as ``5 met, 1 MISSED``."""
    counts: dict[str, int] = {}
    for goal in goals:
        counts[goal.status] = counts.get(goal.status, 0) + 1
    return ", ".join(f"{counts[status]} {status}" for status in _HARSHEST_FIRST if status in counts)


def _number(value: float, unit: str = "") -> str:
    text = f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()
