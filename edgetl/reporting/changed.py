"""The images whose prediction changed through quantization: counts an engine, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgetl.reporting.markup import Html, el
from edgetl.reporting.read import Row, mappings, text
from edgetl.reporting.sections import paragraph, titled
from edgetl.reporting.text import counted
from edgetl.reporting.thumbnails import thumbnail

MOST_PICTURES = 48
_ORDER = {"lost": 0, "gained": 1, "moved": 2}
_WORDS = {"lost": "right → wrong", "gained": "wrong → right", "moved": "wrong → wrong"}


def kind_of_change(change: Mapping[str, Any]) -> str:
    """``"lost"`` (right before, wrong after), ``"gained"`` or ``"moved"`` (wrong both times)."""
    truth = text(change, "label")
    if text(change, "before") == truth:
        return "lost"
    return "gained" if text(change, "after") == truth else "moved"


def shares(counts: Sequence[int], total: int) -> list[int]:
    """How many of ``total`` places each engine gets: as even as the counts allow."""
    given = [0] * len(counts)
    while total > 0 and given != list(counts):
        for i, count in enumerate(counts):
            if given[i] < count and total > 0:
                given[i] += 1
                total -= 1
    return given


def changed_images(rows: Sequence[Row], images: Path | None) -> Html:
    """At most 48 pictures for all engines together; those that became wrong go first."""
    engines = [(row, _ordered(row)) for row in rows if not row.reference and not row.error]
    engines = [(row, changes) for row, changes in engines if changes or "changed" in row.source]
    title = "Images whose prediction changed"
    if not any(changes for _, changes in engines):
        compared = any(row.agreement for row, _ in engines)
        words = "No prediction changed." if compared else "Predictions were not compared with FP32's."
        return titled("changed", title, paragraph(words))
    places = shares([len(changes) for _, changes in engines], MOST_PICTURES)
    content: list[Html] = []
    absent = 0
    for (row, changes), place in zip(engines, places, strict=True):
        pictures = [_picture(change, images) for change in changes[:place]]
        absent += sum(not has_picture for _, has_picture in pictures)
        rest = len(changes) - place
        content += [el("h3", f"{row.name}: {_counts(changes)}")]
        content += [el("ul", *(item for item, _ in pictures), class_="pictures")] if pictures else []
        content += [paragraph(f"And {counted(rest, 'more image')}, not shown.")] if rest else []
    return titled("changed", title, _explained(absent, images), *content)


def _ordered(row: Row) -> list[Mapping[str, Any]]:
    changes = mappings(row.source, "changed")
    return sorted(changes, key=lambda change: (_ORDER[kind_of_change(change)], text(change, "path")))


def _counts(changes: Sequence[Mapping[str, Any]]) -> str:
    kinds = [kind_of_change(change) for change in changes]
    parts = [f"{kinds.count(kind)} {words}" for kind, words in _WORDS.items() if kind in kinds]
    return f"{counted(len(changes), 'image')}" + (f" ({', '.join(parts)})" if parts else "")


def _picture(change: Mapping[str, Any], images: Path | None) -> tuple[Html, bool]:
    kind = kind_of_change(change)
    path, truth = text(change, "path"), text(change, "label")
    labels = [("truth", truth), *((name, text(change, name) or "?") for name in ("before", "after"))]
    uri = thumbnail(images, str(change.get("path") or ""))
    absent = el("div", "no picture", class_="absent")
    picture = el("img", src=uri, alt=f"{path}, truth {truth}") if uri else absent
    item = el(
        "li",
        picture,
        el("b", _WORDS[kind]),
        *(el("span", f"{name}: {label}", class_="line") for name, label in labels),
        el("span", path, class_="line path"),
        class_=f"picture {kind}",
    )
    return item, uri is not None


def _explained(absent: int, images: Path | None) -> Html:
    words = (
        "Before is FP32, after the engine. Red: FP32 was right and the engine is wrong; green: the other way "
        "round; grey: both are wrong."
    )
    if images is None:
        words += " Without pictures, as no image folder was given."
    elif absent:
        words += f" {counted(absent, 'picture')} could not be read from the image folder."
    return paragraph(words)
