"""Accuracy of two documents: on the same images pair by pair where they tell enough, else as two shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetl.comparing.checks import Change, Check, Verdict
from edgetl.comparing.entries import Entry, section
from edgetl.comparing.intervals import difference
from edgetl.comparing.settings import POINTS_RESOLUTION
from edgetl.gate.paired import score_interval
from edgetl.quantity import Quantity

_NAME = "accuracy"


def accuracy_change(base: Entry, new: Entry) -> Change | Check | None:
    """None if neither document has an accuracy."""
    before, after = base.quantity(_NAME), new.quantity(_NAME)
    if before is None and after is None:
        return None
    obstacle = _obstacle(base, new, before, after)
    if obstacle or before is None or after is None:
        return Check(_NAME, "share", before, after, None, "not comparable", obstacle or "")
    moves = _moves(base, new)
    if moves is None:
        change, evidence = difference(after, before).scaled(100), "the same images, but not image by image"
        return _change(before, after, change, evidence)
    gained, lost = moves
    low, high = score_interval(gained, lost, after.n)
    change = Quantity(100 * (gained - lost) / after.n, 100 * low, 100 * high, after.n, after.kind)
    if not (gained or lost):
        # Nothing speaks for a change; that so few images could hide one is in the interval.
        same = f"each of {after.n:,} images is right or wrong as before"
        return _change(before, after, change, same, ("no change", same))
    return _change(before, after, change, f"image by image, {lost} lost and {gained} gained of {after.n:,}")


def _change(
    before: Quantity,
    after: Quantity,
    change: Quantity,
    evidence: str,
    settled: tuple[Verdict, str] | None = None,
) -> Change:
    return Change(_NAME, "share", before, after, change, evidence, -1, 0.0, POINTS_RESOLUTION, settled)


def _obstacle(base: Entry, new: Entry, before: Quantity | None, after: Quantity | None) -> str | None:
    if before is None or after is None:
        return f"not measured in {'BASE' if before is None else 'NEW'}"
    if before.kind != after.kind:
        return f"{before.kind} in BASE, {after.kind} in NEW"
    if base.document.get("contract") != new.document.get("contract"):
        return "the preprocessing contracts differ"
    if _images(base) != _images(new) or None in _images(base):
        return "not the same images (dataset.digest, held_out)"
    return None


def _images(entry: Entry) -> tuple[Any, Any]:
    dataset = section(entry.document, "dataset")
    return dataset.get("digest"), dataset.get("held_out")


def _moves(base: Entry, new: Entry) -> tuple[int, int] | None:
    """How many images only ``new`` gets right, and only ``base``; None where the documents do not tell.

    ``changed`` lists each engine's predictions where they differ from the float model's. If that model gave
    the same predictions in both runs, the engines' predictions can be compared: made from the same weights,
    images and seed, with the same confusion matrix, and the count of right ones comes out as documented.
    """
    before, after = base.quantity(_NAME), new.quantity(_NAME)
    if before is None or after is None or before.n != after.n:
        return None
    if _model(base) is None or _model(base) != _model(new):
        return None
    first, second = _changed(base), _changed(new)
    if first is None or second is None:
        return None
    if any(first[path]["before"] != second[path]["before"] for path in first.keys() & second.keys()):
        return None
    gained = lost = 0
    for path in first.keys() | second.keys():
        known = first.get(path) or second[path]
        was, now = (found[path]["after"] if path in found else known["before"] for found in (first, second))
        gained += was != known["label"] == now
        lost += was == known["label"] != now
    right = [round(share.value * share.n) for share in (before, after)]
    return (gained, lost) if right[1] - right[0] == gained - lost else None


def _model(entry: Entry) -> tuple[Any, ...] | None:
    train, confusion = section(entry.document, "train"), section(entry.document, "fp32").get("confusion")
    if not train or not confusion:
        return None
    return {name: value for name, value in train.items() if name != "seconds"}, confusion


def _changed(entry: Entry) -> dict[str, Mapping[str, Any]] | None:
    """By path; None if there is no list, paths in it don't tell images apart or an item is incomplete."""
    listed = entry.facts.get("changed")
    if not isinstance(listed, list) or not all(map(_complete, listed)):
        return None
    found = {item["path"]: item for item in listed}
    return found if len(found) == len(listed) else None


def _complete(item: Any) -> bool:
    names = ("path", "label", "before", "after")
    return isinstance(item, Mapping) and all(isinstance(item.get(name), str) for name in names)
