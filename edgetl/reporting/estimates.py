"""What compilers expect of engines on devices that are not here: a section of its own, so that no estimate
stands where a measurement would."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.read import Row, quantity, section, text
from edgetl.reporting.sections import boxed, cell, paragraph, titled
from edgetl.reporting.text import MILLISECONDS, RATE, Unit, fixed, significant

_COUNT = Unit(1, lambda x: fixed(x, 0) if x == round(x) else significant(x))
_PERCENT = Unit(100, lambda x: fixed(x, 1), " %")
_SUFFIXES = {
    "_ms": ("ms", MILLISECONDS),
    "_per_s": ("1/s", RATE),
    "_kib": ("KiB", _COUNT),
    "_mib": ("MiB", _COUNT),
    "_mb": ("MB", _COUNT),
    "_share": ("%", _PERCENT),
}
_ABOUT = ("source", "note")


def estimates(rows: Sequence[Row]) -> Html | None:
    """One table an engine; None where no compiler told anything."""
    told = [row for row in rows if section(row.source, "estimate")]
    if not told:
        return None
    words = (
        "Compilers' own models of their hardware, for comparing networks and settings with one another. "
        "They are no measurement, and no gate looks at them."
    )
    content = [part for row in told for part in _engine(row)]
    return titled("estimates", "Compiler estimates", paragraph(words), *content)


def _engine(row: Row) -> tuple[Html, Html, Html]:
    found = section(row.source, "estimate")
    body = [_line(str(name), value) for name, value in found.items() if name not in _ABOUT]
    table = el("table", el("tbody", *body), class_="facts")
    about = paragraph(f"{text(found, 'source')}: {text(found, 'note')}")
    return el("h3", row.name), about, boxed(table, f"Estimates for {row.name}", fit=True)


def _line(name: str, value: object) -> Html:
    label, unit = named(name)
    figure = quantity(value)
    return el("tr", el("th", label, scope="row"), cell(figure, unit, "not told"))


def named(name: str) -> tuple[str, Unit]:
    """``latency_ms`` as a person reads it, and how its numbers are written."""
    for suffix, (symbol, unit) in _SUFFIXES.items():
        if name.endswith(suffix):
            return f"{clean(name.removesuffix(suffix)).replace('_', ' ')}, {symbol}", unit
    return clean(name).replace("_", " "), _COUNT
