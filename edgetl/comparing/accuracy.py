"""Accuracy of two documents: on the same images pair by pair where they tell enough, else as two shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from edgetl.comparing.checks import Change, Check, Verdict
from edgetl.comparing.entries import Entry, section
from edgetl.comparing.intervals import at, difference
from edgetl.comparing.settings import POINTS_RESOLUTION
from edgetl.gate.paired import score_interval
from edgetl.quantity import Quantity, normal_quantile

_NAME = "accuracy"


def accuracy_change(base: Entry, new: Entry) -> Change | Check | None:
    """None if neither document has an accuracy."""
    before, after = base.quantity(_NAME), new.quantity(_NAME)
    if before is None and after is None:
        return None
    obstacle = _obstacle(base, new, before, after)
    if obstacle or before is None or after is None:
        return Check(_NAME, "share", before, after, None, "not comparable", obstacle or "")
    moves = _moves(base, new) if before.n == after.n else None
    if moves is None:
        change = difference(after, before).scaled(100)
        evidence = "the same images, but not image by image"
        return _change(before, after, partial(at, change=change, logarithmic=False), evidence)
    gained, lost = moves
    interval = partial(_paired, gained, lost, after)
    if not (gained or lost):
        # Nothing speaks for a change; that so few images could hide one is in the interval.
        same = f"each of {after.n:,} images is right or wrong as before"
        return _change(before, after, interval, same, ("no change", same))
    return _change(before, after, interval, f"image by image, {lost} lost and {gained} gained of {after.n:,}")


def _paired(gained: int, lost: int, after: Quantity, confidence: float) -> Quantity:
    low, high = score_interval(gained, lost, after.n, normal_quantile(confidence))
    return Quantity(100 * (gained - lost) / after.n, 100 * low, 100 * high, after.n, after.kind)


def _change(
    before: Quantity,
    after: Quantity,
    interval: Callable[[float], Quantity],
    evidence: str,
    settled: tuple[Verdict, str] | None = None,
) -> Change:
    return Change(_NAME, "share", before, after, interval, evidence, -1, 0.0, POINTS_RESOLUTION, settled)


def _obstacle(base: Entry, new: Entry, before: Quantity | None, after: Quantity | None) -> str | None:
    if before is None or after is None:
        return f"not measured in {'BASE' if before is None else 'NEW'}"
    if before.kind != after.kind:
        return f"{before.kind} in BASE, {after.kind} in NEW"
    if base.document.get("contract") != new.document.get("contract"):
        return "the preprocessing contracts differ"
    if _images(base) is None or _images(base) != _images(new):
        return "not the same images (dataset.held_out_digest)"
    return None


def _images(entry: Entry) -> Any:
    return section(entry.document, "dataset").get("held_out_digest")


def _moves(base: Entry, new: Entry) -> tuple[int, int] | None:
    """How many images only ``new`` gets right, and only ``base``; None where the documents do not tell."""
    before, after = _mistakes(base), _mistakes(new)
    if before is None or after is None:
        return None
    return (before - after).total(), (after - before).total()


def _mistakes(entry: Entry) -> Counter[tuple[str, str]] | None:
    """Labels and digests of the images it gets wrong; None if not told, or not as many as its accuracy says.

    Paths would not do: a folder that was renamed holds the same images.
    """
    accuracy, listed = entry.quantity(_NAME), entry.facts.get("mistakes")
    if accuracy is None or not isinstance(listed, list):
        return None
    wrong = Counter(
        (item["label"], item["image"])
        for item in listed
        if isinstance(item, Mapping) and all(isinstance(item.get(name), str) for name in ("label", "image"))
    )
    return wrong if wrong.total() == accuracy.n - round(accuracy.value * accuracy.n) else None
