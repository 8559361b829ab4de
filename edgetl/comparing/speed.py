"""Latency and throughput: is the new engine slower, or was the machine?

A document's interval tells how well one process at one time pins a figure down. It does not hold what changes
from one run to the next: clock, neighbours, memory layout. So a change is taken, in this order, from

1. rounds in which both engines took turns (``against`` in the newer document),
2. rounds that each took with the same float engine (``speedups`` in both): what slows the machine slows both,
3. the two figures as they stand, with a noise between runs added, and only if the machine was steady.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from edgetl.comparing.checks import Change, Check, Unit, Verdict
from edgetl.comparing.entries import Entry, items, quantity_at, section
from edgetl.comparing.intervals import at, ratio, widened
from edgetl.comparing.machines import machine_differences
from edgetl.comparing.settings import LEFT_BY_REFERENCE, LEFT_IN_TURNS, NOISE_OF, RESOLUTION, Settings
from edgetl.engines import REFERENCE
from edgetl.quantity import Quantity

_P50 = "p50 latency"
_FIGURES: tuple[tuple[str, Unit, tuple[str, ...]], ...] = (
    (_P50, "ms", ("latency_ms", "p50")),
    ("p90 latency", "ms", ("latency_ms", "p90")),
    ("p99 latency", "ms", ("latency_ms", "p99")),
    ("throughput", "per_s", ("throughput_per_s",)),
)


@dataclass(frozen=True)
class _Taken:
    """A ratio with its 95 % interval, of Student's t with ``degrees`` or of a normal distribution."""

    change: Quantity
    evidence: str
    degrees: int | None = None


def speed_changes(base: Entry, new: Entry, settings: Settings) -> list[Change | Check]:
    """p50, p90 and p99 latency and throughput, as far as either document has them."""
    differences = [] if settings.across_machines else machine_differences(base, new)
    different = f"not the same machine: {'; '.join(differences)}" if differences else None
    turns = _in_turns(base, new, settings)
    doubt = _unsteady(base, new, settings) or _shifted(base, new, settings, turns)
    found: list[Change | Check] = []
    for name, unit, path in _FIGURES:
        before, after = base.quantity(*path), new.quantity(*path)
        if before is None and after is None:
            continue
        direct = turns if name == _P50 else None
        obstacle = _obstacle(before, after) or (None if direct else different)
        if obstacle or before is None or after is None:
            found.append(Check(name, unit, before, after, None, "not comparable", obstacle or ""))
            continue
        paired = direct or (_by_reference(base, new, settings) if name == _P50 else None)
        plain = _Taken(ratio(after, before, settings.noise * NOISE_OF[name]), "as the two figures stand")
        taken = paired or plain
        interval = partial(at, change=taken.change, degrees=taken.degrees, logarithmic=True)
        worse: Literal[1, -1] = -1 if unit == "per_s" else 1
        limits = worse, settings.tolerance, RESOLUTION, None if paired else doubt
        found.append(Change(name, unit, before, after, interval, taken.evidence, *limits))
    return found


def _obstacle(before: Quantity | None, after: Quantity | None) -> str | None:
    if before is None:
        return "not measured in BASE"
    if after is None:
        return "not measured in NEW"
    if before.kind != after.kind:
        return f"{before.kind} in BASE, {after.kind} in NEW"
    return None if min(before.value, after.value) > 0 else "a figure is not positive"


def _in_turns(base: Entry, new: Entry, settings: Settings) -> _Taken | None:
    """p50's ratio where NEW was measured in turns with BASE's very engine."""
    against = section(new.facts, "against")
    change = quantity_at(against, "ratio")
    if change is None or against.get("digest") is None or against["digest"] != base.facts.get("digest"):
        return None
    change = widened(change, settings.noise * LEFT_IN_TURNS)
    return _Taken(change, "measured in turns with BASE's engine", max(1, change.n - 1))


def _shifted(base: Entry, new: Entry, settings: Settings, turns: _Taken | None) -> tuple[Verdict, str] | None:
    """Why figures as they stand can't be compared: turns tell the engine's part, the rest is the machine."""
    before, after = (entry.quantity("latency_ms", "p50") for entry in (base, new))
    if turns is None or settings.across_machines or _obstacle(before, after) or not before or not after:
        return None
    shift = ratio(after, before, settings.noise).scaled(1 / turns.change.value)
    return _moved(shift, "BASE's engine")


def _moved(shift: Quantity, what: str) -> tuple[Verdict, str] | None:
    """The doubt where something that did not change was not as fast as before."""
    if shift.low is None or shift.high is None or shift.low <= 1 <= shift.high:
        return None
    return (
        "undecided",
        f"the machine was not in the same state: {what} itself took {shift.value:.2f} times as long",
    )


def _by_reference(base: Entry, new: Entry, settings: Settings) -> _Taken | None:
    """p50's ratio where both were measured in turns with the same float engine.

    Not across machines: what one machine does to another's times is the question there.
    """
    for name in [] if settings.across_machines else _shared_references(base, new):
        # A speed-up is the reference's time over the engine's.
        before, after = base.quantity("speedups", name), new.quantity("speedups", name)
        if before and after and min(before.value, after.value) > 0:
            change = ratio(before, after, settings.noise * LEFT_BY_REFERENCE)
            return _Taken(change, f"each measured in turns with {name}", max(1, change.n - 1))
    return None


def _shared_references(base: Entry, new: Entry) -> list[str]:
    """Float engines that are the same in both documents, the one of the engine's own backend first.

    A network's file does not tell the size of its input; the contract does.
    """
    if base.document.get("contract") != new.document.get("contract"):
        return []
    before, after = _references(base), _references(new)
    same = [name for name in before if name in after and _work(before[name]) == _work(after[name])]
    return sorted(same, key=lambda name: (name != f"{REFERENCE}{new.facts.get('backend')}", name))


def _references(entry: Entry) -> dict[str, Mapping[str, Any]]:
    """Float engines by name that were timed on the entry's machine: they stay at the host."""
    engines = [] if section(entry.facts, "device") else items(section(entry.document, "fp32"), "engines")
    return {f"{REFERENCE}{facts.get('backend')}": facts for facts in engines if isinstance(facts, Mapping)}


def _work(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a float engine's time depends on: its layers and their size, not what was learnt."""
    return facts.get("precision"), facts.get("size_bytes"), section(facts, "precision_detail", "executed")


def _unsteady(base: Entry, new: Entry, settings: Settings) -> tuple[Verdict, str] | None:
    """Why figures as they stand say more of the machine than of the engine; None if they may be compared."""
    for which, entry in (("BASE", base), ("NEW", new)):
        notes = [str(note) for note in items(entry.facts, "latency_notes")]
        wobbly = next((note for note in notes if note.startswith("not steady")), None)
        if wobbly:
            return "undecided", f"the machine was not steady in {which} ({wobbly})"
    if settings.across_machines:
        return None
    for name in _shared_references(base, new):
        before = quantity_at(_references(base)[name], "latency_ms", "p50")
        after = quantity_at(_references(new)[name], "latency_ms", "p50")
        if _obstacle(before, after) or before is None or after is None:
            continue
        if moved := _moved(ratio(after, before, settings.noise), name):
            return moved
    return None
