"""What has no interval: whether there is an engine, its precision, placement, size and gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetl.comparing.checks import GATE, Check, Verdict
from edgetl.comparing.entries import Entry, items, number_at, section, text_at
from edgetl.comparing.settings import SIZE_ACCEPTED, TIME_SHARE_ACCEPTED
from edgetl.quantity import Quantity

_STATES = ("failed", "plan", "uncompiled", "built")
_GATES = ("failed", "undecided", "passed")


def engine_check(base: Entry, new: Entry | None) -> Check:
    """Whether it is still there and still made."""
    before, after = _state(base), _state(new) if new else "missing"
    verdict: Verdict = "no change"
    why = f"{before} in both"
    if new is None:
        verdict, why = "regression", "NEW has no such engine"
    elif _STATES.index(before) != _STATES.index(after):
        worse = _STATES.index(after) < _STATES.index(before)
        verdict, why = ("regression" if worse else "improvement"), f"{before} in BASE, {after} in NEW"
    error = text_at(new.facts, "error") if new else None
    return _words("engine", before, after, verdict, f"{why}: {error}" if error else why)


def _state(entry: Entry) -> str:
    state = text_at(entry.facts, "state")
    return "failed" if entry.facts.get("error") else state if state in _STATES else "built"


def plain_checks(base: Entry, new: Entry) -> list[Check]:
    """Gate, precision, placement and size, as far as both documents tell of them."""
    found = (_gate(base, new), _precision(base, new), _placement(base, new), _size(base, new))
    return [check for check in found if check]


def _gate(base: Entry, new: Entry) -> Check | None:
    before, after = (entry.facts.get("gate") for entry in (base, new))
    if after not in _GATES or before not in (*_GATES, "none"):
        return None
    reasons = "; ".join(map(str, items(new.facts, "gate_reasons")))
    verdict: Verdict = "no change"
    if before == "none":
        if after == "passed":
            return None
        verdict = "regression" if after == "failed" else "undecided"
    elif before != after:
        worse = _GATES.index(after) < _GATES.index(before)
        verdict = "improvement" if not worse else "regression" if after == "failed" else "undecided"
    return _words(GATE, before, after, verdict, reasons or f"{before} in BASE, {after} in NEW")


def _precision(base: Entry, new: Entry) -> Check | None:
    before, after = (text_at(entry.facts, "precision") for entry in (base, new))
    if not before or not after:
        return None
    asked = [section(entry.facts, "precision_detail").get("asked") for entry in (base, new)]
    shares = [_share_as_asked(entry) for entry in (base, new)]
    verdict: Verdict = "no change"
    why = f"{before} in both"
    if asked[0] != asked[1]:
        verdict, why = "not comparable", f"BASE was asked to be {asked[0]}, NEW {asked[1]}"
    elif before != after:
        verdict = "improvement" if after == asked[1] else "regression"
        why = f"asked for {asked[1]}, computes in {before} in BASE, {after} in NEW"
    elif shares[0] is not None and shares[1] is not None and shares[0] != shares[1]:
        verdict = "regression" if shares[1] < shares[0] else "improvement"
        why = f"{shares[0]:.1%} of layers computed in {after} in BASE, {shares[1]:.1%} in NEW"
    return _words("precision", before, after, verdict, why)


def _share_as_asked(entry: Entry) -> float | None:
    """Share of the layers that compute in the precision asked for."""
    detail = section(entry.facts, "precision_detail")
    executed = section(detail, "executed")
    counts = {name: number_at(executed, name) or 0 for name in executed}
    total = sum(counts.values())
    return counts.get(str(detail.get("asked")), 0) / total if total else None


def _placement(base: Entry, new: Entry) -> Check | None:
    first, second = section(base.facts, "placement"), section(new.facts, "placement")
    if not first or not second:
        return None
    before, after = _share(first), _share(second)
    verdict: Verdict = "no change"
    why = f"on {second.get('device')} as before"
    if first.get("device") != second.get("device"):
        verdict, why = "regression", f"runs on {second.get('device')}, before on {first.get('device')}"
    elif before and after and before.value != after.value:
        verdict = "regression" if after.value < before.value else "improvement"
        elsewhere = ", ".join(map(str, items(second, "elsewhere")))
        why = f"nodes on {second.get('device')}" + (f"; elsewhere: {elsewhere}" if elsewhere else "")
    elif time := _lost_time(first, second):
        verdict, why = time
    change = None
    if before and after:
        change = Quantity(100 * (after.value - before.value), None, None, 1, after.kind)
    return Check("placement", "share", before, after, change, verdict, why)


def _lost_time(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Verdict, str] | None:
    """The same nodes, but another share of the time, as far as both were profiled."""
    before, after = (number_at(placement, "share_of_time") for placement in (first, second))
    if before is None or after is None or abs(after - before) <= TIME_SHARE_ACCEPTED:
        return None
    verdict: Verdict = "regression" if after < before else "improvement"
    return verdict, f"{after:.0%} of the time on {second.get('device')}, before {before:.0%}"


def _share(placement: Mapping[str, Any]) -> Quantity | None:
    share = number_at(placement, "share_of_nodes")
    return None if share is None else Quantity(share, None, None, 1)


def _size(base: Entry, new: Entry) -> Check | None:
    before, after = (number_at(entry.facts, "size_bytes") for entry in (base, new))
    if not before or not after:
        return None
    change = after / before
    verdict: Verdict = "no change"
    if not 1 / (1 + SIZE_ACCEPTED) <= change <= 1 + SIZE_ACCEPTED:
        verdict = "regression" if change > 1 else "improvement"
    first, second = (Quantity(size, None, None, 1) for size in (before, after))
    why = f"{before:,.0f} bytes in BASE, {after:,.0f} in NEW; up to {SIZE_ACCEPTED:.0%} is let pass"
    return Check("size", "bytes", first, second, Quantity(change, None, None, 1), verdict, why)


def _words(name: str, before: str, after: str, verdict: Verdict, why: str) -> Check:
    return Check(name, "text", before, after, None, verdict, why)
