"""From two results documents to verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgetl.comparing.accuracy import accuracy_change
from edgetl.comparing.checks import VERDICTS, Change, Check, Verdict, judge_all
from edgetl.comparing.entries import Entry, matched
from edgetl.comparing.settings import Settings
from edgetl.comparing.speed import speed_changes
from edgetl.comparing.standing import engine_check, plain_checks


@dataclass(frozen=True)
class Compared:
    """One engine.

    Attributes:
        name: of its target, and of its device if the documents tell it.
        checks: in the order in which they are shown.
    """

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Comparison:
    """All engines of the older document.

    Attributes:
        intervals: how many intervals hold together at 95 %.
        notes: what a reader must know besides, one sentence each.
        strict: what is undecided or not comparable is a failure.
    """

    engines: tuple[Compared, ...]
    intervals: int
    notes: tuple[str, ...]
    strict: bool = False

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many checks have each verdict, the one to look at first at the beginning."""
        found = [check.verdict for engine in self.engines for check in engine.checks]
        return {verdict: found.count(verdict) for verdict in VERDICTS}

    @property
    def status(self) -> int:
        """For the shell: 1 if anything fails (strict: or could not be told), else 0."""
        unsure = ("undecided", "not comparable") if self.strict else ()
        checks = [check for engine in self.engines for check in engine.checks]
        return 1 if any(check.fails or check.verdict in unsure for check in checks) else 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "schema": "edgetl.comparison/1",
            "status": self.status,
            "counts": self.counts,
            "intervals": self.intervals,
            "notes": list(self.notes),
            "engines": [
                {"name": engine.name, "checks": [check.to_dict() for check in engine.checks]}
                for engine in self.engines
            ],
        }


def compare(base: Mapping[str, Any], new: Mapping[str, Any], settings: Settings | None = None) -> Comparison:
    """Compare two results documents (see ``edgetl.results.read_results``), engine by engine.

    Raises:
        InputError: if a document is not one, or has two engines of one target and device.
    """
    settings = settings or Settings()
    pairs, added = matched(base, new)
    judged = [(before.name, _changes(before, after, settings)) for before, after in pairs]
    intervals = sum(isinstance(item, Change) for _, items in judged for item in items)
    engines = tuple(Compared(name, judge_all(items, intervals)) for name, items in judged)
    notes = [f"{entry.name} is only in NEW: there is nothing to compare it with" for entry in added]
    return Comparison(engines, intervals, tuple(notes + _versions(base, new)), settings.strict)


def _changes(base: Entry, new: Entry | None, settings: Settings) -> list[Change | Check]:
    found: list[Change | Check] = [engine_check(base, new)]
    if new is None or base.facts.get("error") or new.facts.get("error"):
        return found
    accuracy = accuracy_change(base, new)
    found += speed_changes(base, new, settings)
    found += [accuracy] if accuracy else []
    return found + plain_checks(base, new)


def _versions(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    first, second = base.get("edgetl"), new.get("edgetl")
    return [] if first == second else [f"BASE was measured by edgetl {first}, NEW by {second}"]
