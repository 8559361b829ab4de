"""The sections with figures and the summary, and the parts all sections are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetl.quantity import Quantity
from edgetl.reporting import confusion, plots
from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.plots import Figure
from edgetl.reporting.read import Row, class_names, items, quantity, section, text
from edgetl.reporting.text import (
    MEGABYTES,
    MILLISECONDS,
    N_TOO_SMALL,
    NOT_MEASURED,
    PERCENT,
    POINTS,
    RATE,
    TIMES,
    Unit,
    in_prose,
    interval,
    note,
    signed,
)

GATES = {
    "passed": ("passed", "✓ passed"),
    "failed": ("failed", "✗ failed"),
    "undecided": ("undecided", "? undecided"),
    "none": ("none", "no gate"),
}


_SUMMARY_HEADS = (
    ("Accuracy", "top-1"),
    ("Drop", "points"),
    ("Agreement", "with FP32"),
    ("p50", "ms"),
    ("p90", "ms"),
    ("p99", "ms"),
    ("Speed-up", "p50"),
    ("Rate", "images/s"),
    ("Size", "MB"),
)


def titled(identifier: str, title: str, *content: object) -> Html:
    """A section with a heading that the table of contents can point to."""
    return el("section", el("h2", title), *content, id=identifier)


def boxed(table: Html, label: str, fit: bool = False) -> Html:
    """A table that scrolls inside its own box, by keyboard too."""
    return el(
        "div", table, class_="scroll fit" if fit else "scroll", role="region", aria_label=label, tabindex="0"
    )


def paragraph(*content: object) -> Html:
    return el("p", *content, class_="muted")


def figure(name: str, alternative: str, caption: object) -> Html:
    """The place of a figure, which ``report.js`` fills from the block ``figure-{name}``."""
    plot = el("div", id=f"plot-{name}", class_="plot", role="img", aria_label=alternative)
    return el("figure", plot, el("figcaption", caption))


def switches(name: str, engines: Sequence[str]) -> Html | None:
    """Buttons that show one engine's traces of a figure (those with its number as ``meta``) at a time."""
    if len(engines) < 2:
        return None
    buttons = [
        el("button", engine, type="button", aria_pressed="true" if i == 0 else "false")
        for i, engine in enumerate(engines)
    ]
    which = f"plot-{name}"
    return el("div", *buttons, class_="switches", role="group", aria_label="Engine", data_switches=which)


def table_of(
    heads: tuple[str, Sequence[str], Sequence[str]], body: Sequence[Html], label: str, fit: bool = False
) -> Html:
    """A boxed table; ``heads`` are that of the rows' own headings, then of numbers, then of words.

    What follows a comma in the heading of numbers is their unit, small below it.
    """
    first, numbers, words = heads
    head = el(
        "tr",
        el("th", first, scope="col"),
        *map(number_head, numbers),
        *(el("th", name, scope="col") for name in words),
    )
    return boxed(el("table", el("thead", head), el("tbody", *body), class_="wide"), label, fit=fit)


def number_head(name: str) -> Html:
    """``"Idle, W"`` with its unit small below it."""
    title, _, unit = name.partition(", ")
    return el("th", title, el("small", unit) if unit else None, scope="col", class_="num")


def count_cell(n: int) -> Html:
    """A sample size; a dash where it is not told."""
    return el("td", f"{n:,}" if n else "–", class_="num")


def remarks(lines: Sequence[object]) -> Html | None:
    """A plain list, each line once."""
    kept = [el("li", clean(line)) for line in dict.fromkeys(map(str, lines))]
    return el("ul", *kept, class_="plain") if kept else None


def kind_badge(value: Quantity) -> Html | None:
    """Nothing for a measured number, its kind for any other."""
    if value.kind == "measured":
        return None
    return el("abbr", value.kind, class_="kind", title=f"{value.kind}, not measured")


def cell(value: Quantity | None, unit: Unit, absent: str = NOT_MEASURED) -> Html:
    """A table cell: the number, its kind, the interval small below, the rest as a tooltip."""
    if value is None:
        return el("td", absent, class_="num none")
    between = interval(value, unit)
    small = el("small", between) if between else None
    number = unit.full(value.value) if unit in (PERCENT, TIMES) else unit.bare(value.value)
    return el("td", number, small, kind_badge(value), class_="num", title=note(value, unit))


def gate_cell(gate: str) -> Html:
    kind, words = GATES.get(gate, ("none", gate))
    return el("td", words, class_=f"gate {kind}")


def summary(rows: Sequence[Row]) -> Html:
    """One row an engine, the FP32 references first."""
    head = el(
        "tr",
        el("th", "Engine", scope="col"),
        el("th", "Gate", scope="col"),
        el("th", "Precision used", el("small", "nodes run in each"), scope="col"),
        *(el("th", name, el("small", unit), scope="col", class_="num") for name, unit in _SUMMARY_HEADS),
    )
    body = [_summary_row(row) for row in rows]
    table = el("table", el("thead", head), el("tbody", *body), class_="wide")
    return titled(
        "summary",
        "Summary",
        boxed(table, "Summary of all engines"),
        paragraph(
            "Small numbers are 95 % intervals; point at a number for its sample size. Drop is in percentage "
            "points against FP32, positive is worse. Agreement is the share of images on which the engine "
            "predicts what FP32 predicts. Speed-up is FP32's p50 on the same backend over the engine's."
        ),
    )


def _summary_row(row: Row) -> Html:
    backend = el("small", row.backend) if row.backend and not row.reference else None
    name = el("th", row.name, backend, scope="row")
    style = "reference" if row.reference else None
    if row.error:
        return el(
            "tr", name, el("td", f"Could not be {row.undone}: {row.error}", colspan="11", class_="error")
        )
    own = [el("td", "–", class_="num none")] * 2 if row.reference else None
    size = el("td", NOT_MEASURED, class_="num none")
    if row.size_bytes is not None:
        size = el("td", MEGABYTES.bare(row.size_bytes), class_="num", title=f"{row.size_bytes:,.0f} bytes")
    tail = N_TOO_SMALL if row.p50 else NOT_MEASURED
    speedup = el("td", "1×", class_="num none") if row.reference else cell(row.speedup, TIMES)
    return el(
        "tr",
        name,
        el("td", "reference", class_="none") if row.reference else gate_cell(row.gate),
        _precision_cell(row),
        cell(row.accuracy, PERCENT),
        *(own or [cell(row.drop, POINTS), cell(row.agreement, PERCENT)]),
        cell(row.p50, MILLISECONDS),
        cell(row.p90, MILLISECONDS, tail),
        cell(row.p99, MILLISECONDS, tail),
        speedup if row.p50 else cell(None, TIMES),
        cell(row.throughput, RATE),
        size,
        class_=style,
    )


def _precision_cell(row: Row) -> Html:
    detail = section(row.source, "precision_detail")
    asked = text(detail, "asked") or row.precision
    floats = text(detail, "float_part")
    parts = [f"asked {asked}" if row.executed else "", f"float part {floats}" if floats else ""]
    below = ", ".join(part for part in parts if part)
    unproven = None if row.executed or row.plan or not row.precision else "not read back"
    used = row.executed or row.precision or NOT_MEASURED
    return el("td", used, el("small", below or unproven) if below or unproven else None)


def trade_off(rows: Sequence[Row]) -> tuple[Html, Figure | None]:
    drawing = plots.trade_off(rows)
    left_out = [row.name for row in rows if not (row.p50 and row.accuracy)]
    missing = (
        paragraph(f"Not in the figure, for want of a number: {', '.join(left_out)}.") if left_out else None
    )
    if drawing is None:
        return titled("trade-off", "Accuracy and latency", paragraph("No engine has both."), missing), None
    points = [
        f"{row.name}: {in_prose(row.accuracy, PERCENT)} at {in_prose(row.p50, MILLISECONDS)}"
        for row in rows
        if row.p50 and row.accuracy
    ]
    caption = "Up and to the left is better. Bars are 95 % intervals; hollow marks are not measured."
    place = figure("trade-off", "Accuracy against p50 latency. " + "; ".join(points), caption)
    return titled("trade-off", "Accuracy and latency", place, missing), drawing


def latency(rows: Sequence[Row]) -> tuple[Html, Figure | None]:
    drawing = plots.latency_curves(rows)
    if drawing is None:
        return titled("latency", "Latency distribution", paragraph("No latency samples were kept.")), None
    spoken = [f"{row.name}: p50 {in_prose(row.p50, MILLISECONDS)}" for row in rows if row.samples and row.p50]
    caption = (
        "Each curve is the share of calls that took at most so long, the mark its p50. A steep curve is a "
        "steady engine; a long upper tail is jitter. Click a name to hide or show its curve."
    )
    place = figure("latency", "Latency distributions. " + "; ".join(spoken), caption)
    notes = remarks([f"{row.name}: {note}" for row in rows for note in items(row.source, "latency_notes")])
    return titled("latency", "Latency distribution", place, notes), drawing


def confusions(rows: Sequence[Row], results: Mapping[str, Any]) -> tuple[Html, Figure | None]:
    labels = class_names(results)
    sources = [("FP32", section(results, "fp32").get("confusion"))]
    sources += [(row.name, row.source.get("confusion")) for row in rows if not row.reference]
    read = [(name, confusion.matrix(source, len(labels))) for name, source in sources]
    matrices = [(name, counts) for name, counts in read if counts is not None]
    drawing = confusion.heat_maps(labels, matrices)
    if drawing is None:
        return titled("confusion", "Confusion matrices", paragraph("None in this document.")), None
    choice = switches("confusion", [name for name, _ in matrices])
    words = [(name, confusion.worst(labels, counts) or "none") for name, counts in matrices]
    caption = (
        "Blue: right, orange: wrong. Colour is the share of the true class; the two scales differ, so that "
        "few errors stay visible, and are the same for all engines."
    )
    spoken = "Confusion matrix. Most frequent confusions: " + "; ".join(f"{n}: {w}" for n, w in words)
    place = figure("confusion", spoken, caption)
    listing = [el("li", el("strong", name), f": {worst}") for name, worst in words]
    heading = el("h3", "Most frequent confusions, truth → predicted (images)")
    frequent = [heading, el("ul", *listing, class_="plain")]
    return titled("confusion", "Confusion matrices", choice, place, *frequent), drawing


def refit(rows: Sequence[Row], results: Mapping[str, Any]) -> tuple[Html | None, Figure | None]:
    """None where nothing was trained: a bundle alone does not tell whether its head was fitted again."""
    pairs = []
    for row in rows:
        source = section(row.source, "refit")
        before, after = quantity(source.get("before")), quantity(source.get("after"))
        if before and after:
            pairs.append((row.name, before, after))
    drawing = plots.refit(pairs)
    if drawing is None and not section(results, "train"):
        return None, None
    if drawing is None:
        return titled("refit", "Head refit", paragraph("No head was fitted again after quantization.")), None
    head = el(
        "tr", *(el("th", name, scope="col") for name in ("Engine", "Before", "After", "Change, points"))
    )
    body = [
        el(
            "tr",
            el("th", name, scope="row"),
            cell(before, PERCENT),
            cell(after, PERCENT),
            el("td", signed(100 * (after.value - before.value), POINTS), kind_badge(after), class_="num"),
        )
        for name, before, after in pairs
    ]
    table = el("table", el("thead", head), el("tbody", *body))
    spoken = "; ".join(f"{name}: {in_prose(b, PERCENT)} to {in_prose(a, PERCENT)}" for name, b, a in pairs)
    caption = "The classification head, fitted again on the features of the quantized backbone."
    place = figure("refit", f"Accuracy before and after the head refit. {spoken}", caption)
    return titled("refit", "Head refit", place, boxed(table, "Head refit", fit=True)), drawing
