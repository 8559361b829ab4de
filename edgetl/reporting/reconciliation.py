"""Latency as edgetl measures it beside that of the vendor's own tool."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.read import Row, items, number, quantity, section, text
from edgetl.reporting.sections import cell, count_cell, paragraph, remarks, table_of, titled
from edgetl.reporting.text import MILLISECONDS, TIMES


def reconciliation(rows: Sequence[Row]) -> Html | None:
    """One table of all engines, with the commands below it; None where no tool was run."""
    told = [row for row in rows if section(row.source, "reconciliation")]
    if not told:
        return None
    heads = ("Engine", ("Ours, ms", "Theirs, ms", "Ours/theirs", "Rounds"), ("Tool",))
    table = table_of(heads, [_line(row) for row in told], "Reconciliation", fit=True)
    words = paragraph(
        "The vendor's tool and edgetl time the same engine in turns; medians, their ratio paired by round."
    )
    commands = [
        el("p", f"{row.name}: ", el("code", command))
        for row in told
        if (command := text(section(row.source, "reconciliation"), "command"))
    ]
    notes = [
        f"{row.name}: {clean(note)}"
        for row in told
        for note in items(section(row.source, "reconciliation"), "notes")
    ]
    return titled("reconciliation", "Beside the vendor's own tool", words, table, *commands, remarks(notes))


def _line(row: Row) -> Html:
    found = section(row.source, "reconciliation")
    version = text(found, "version")
    return el(
        "tr",
        el("th", row.name, scope="row"),
        cell(quantity(found.get("ours_ms")), MILLISECONDS),
        cell(quantity(found.get("theirs_ms")), MILLISECONDS),
        cell(quantity(found.get("ratio")), TIMES),
        count_cell(int(number(found.get("n")) or 0)),
        el("td", text(found, "tool") or "not told", el("small", version) if version else None),
    )
