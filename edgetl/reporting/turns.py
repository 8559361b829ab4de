"""Engines that took turns with another bundle's: the ratio that a machine's moods leave alone."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.read import Row, quantity, section, text
from edgetl.reporting.sections import cell, count_cell, paragraph, table_of, titled
from edgetl.reporting.text import TIMES


def turns(rows: Sequence[Row]) -> Html | None:
    """One table of all engines; None where none took turns."""
    told = [row for row in rows if section(row.source, "against")]
    if not told:
        return None
    heads = ("Engine", ("p50, this/that", "Launches"), ("Taken in turns with",))
    words = paragraph(
        "Both engines were loaded anew for each launch and took turns of a few runs, so that whatever slows "
        "the machine slows both. Below 1 this engine is the faster."
    )
    table = table_of(heads, [_line(row) for row in told], "Turns", fit=True)
    return titled("turns", "In turns", words, table)


def _line(row: Row) -> Html:
    found = section(row.source, "against")
    ratio = quantity(found.get("ratio"))
    return el(
        "tr",
        el("th", row.name, scope="row"),
        cell(ratio, TIMES),
        count_cell(ratio.n if ratio else 0),
        el("td", clean(text(found, "bundle") or text(found, "target") or "not told")),
    )
