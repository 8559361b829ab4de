"""The section about single classes: precision, recall and F1, FP32 and engines side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetl.quantity import Quantity
from edgetl.reporting.markup import Html, el, join
from edgetl.reporting.read import Row, mappings, quantity, section, text
from edgetl.reporting.sections import boxed, kind_badge, paragraph, titled
from edgetl.reporting.text import NOT_MEASURED, PERCENT, counted, note


def per_class(rows: Sequence[Row], results: Mapping[str, Any]) -> Html:
    """Precision, recall and F1 of every class, FP32 and engines side by side."""
    fp32 = section(results, "fp32")
    sources = [("FP32", mappings(fp32, "per_class"))]
    sources += [(row.name, mappings(row.source, "per_class")) for row in rows if not row.reference]
    columns = [
        (name, {text(entry, "label"): entry for entry in entries}) for name, entries in sources if entries
    ]
    if not columns:
        return titled("classes", "Classes", paragraph("No per-class figures in this document."))
    labels = list(dict.fromkeys(label for _, entries in columns for label in entries))
    trained = section(section(results, "dataset"), "per_class")
    group = [el("th", name, scope="colgroup", colspan="3", class_="group") for name, _ in columns]
    measures = [
        el("th", m, scope="col", class_="num") for _ in columns for m in ("Precision", "Recall", "F1")
    ]
    any_trained = any(text(section(trained, label), "train") for label in labels)
    named = ("Trained on", "Tested on") if any_trained else ("Tested on",)
    counts = [el("th", name, scope="col", class_="num", rowspan="2") for name in named]
    head = [el("tr", el("th", "Class", scope="col", rowspan="2"), *counts, *group), el("tr", *measures)]
    body = [_class_row(label, columns, section(trained, label) if any_trained else None) for label in labels]
    table = el("table", el("thead", *head), el("tbody", *body), class_="wide")
    sizes = counted(len(labels), "class", "classes")
    return titled(
        "classes",
        "Classes",
        paragraph(f"{sizes}; percent. Point at a number for its interval and sample size."),
        boxed(table, "Precision, recall and F1 of each class"),
    )


def _class_row(
    label: str, columns: Sequence[tuple[str, dict[str, Mapping[str, Any]]]], trained: Mapping[str, Any] | None
) -> Html:
    support = next((text(entries[label], "support") for _, entries in columns if label in entries), "")
    cells = [
        _bare_cell(quantity(entries.get(label, {}).get(measure)), first=measure == "precision")
        for _, entries in columns
        for measure in ("precision", "recall", "f1")
    ]
    sizes = [support] if trained is None else [text(trained, "train"), support]
    counts = [el("td", value or "–", class_="num") for value in sizes]
    return el("tr", el("th", label, scope="row"), *counts, *cells)


def _bare_cell(value: Quantity | None, first: bool) -> Html:
    """As :func:`cell`, without the small line: a table of hundreds of numbers would drown in it."""
    style = "num first" if first else "num"
    if value is None:
        return el("td", "–", class_=style, title=NOT_MEASURED)
    shown = join([PERCENT.bare(value.value), kind_badge(value)], " ")
    return el("td", shown, class_=style, title=note(value, PERCENT))
