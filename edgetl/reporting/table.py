"""The results in the terminal: one line an engine, footnotes for what the line cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgetl.quantity import Quantity
from edgetl.reporting.read import Row, mappings, rows
from edgetl.reporting.text import (
    MEGABYTES,
    MILLISECONDS,
    N_TOO_SMALL,
    NOT_MEASURED,
    PERCENT,
    POINTS,
    RATE,
    Unit,
    counted,
    fixed,
)

_MARKS = {"measured": "", "simulated": "†", "estimated": "‡"}
_GATE_STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow"}
_SMALL_N = "*"
"""In a triple of latencies there is no room for more; the footnote says what it means."""


def summary_table(results: Mapping[str, Any]) -> Table:
    """A table of at most 100 columns: FP32 references, then engines; the caption holds the footnotes."""
    listed = rows(results)
    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption_justify="left",
        caption_style="",
    )
    table.add_column("target", overflow="fold", min_width=8, max_width=20)
    table.add_column("precision", overflow="fold", min_width=5, max_width=16)
    for name in ("accuracy %", "drop pt", "p50/p90/p99 ms", "img/s", "MB"):
        table.add_column(name, justify="right", no_wrap=True, overflow="fold")
    table.add_column("gate", min_width=9, no_wrap=True, overflow="fold")
    for i, row in enumerate(listed):
        last_reference = row.reference and not (i + 1 < len(listed) and listed[i + 1].reference)
        table.add_row(*_cells(row), end_section=last_reference, style="dim" if row.reference else "")
    table.caption = Text("\n".join(_footnotes(listed, results)))
    return table


def render_summary(results: Mapping[str, Any], console: Console) -> None:
    """Print the summary, no wider than the console."""
    console.print(summary_table(results))


def _cells(row: Row) -> list[Text]:
    if row.error:
        empty = [_absent("–")] * 5
        return [Text(row.name), Text(row.precision), *empty, Text("error", "bold red")]
    absent = _absent("–")
    size = _absent("–") if row.size_bytes is None else Text(MEGABYTES.bare(row.size_bytes))
    gate = "" if row.reference else {"none": "no gate"}.get(row.gate, row.gate)
    return [
        Text(row.name),
        Text(row.executed or row.precision or NOT_MEASURED),
        _absent() if row.accuracy is None else Text(_accuracy(row.accuracy)),
        absent if row.drop is None else Text(_marked(row.drop, POINTS)),
        _latency(row),
        _absent("–") if row.throughput is None else Text(_marked(row.throughput, RATE)),
        size,
        Text(gate, _GATE_STYLES.get(row.gate, "dim")),
    ]


def _absent(words: str = NOT_MEASURED) -> Text:
    return Text(words, "dim")


def _marked(value: Quantity, unit: Unit) -> str:
    return unit.bare(value.value) + _MARKS[value.kind]


def _accuracy(accuracy: Quantity) -> str:
    if accuracy.low is None or accuracy.high is None:
        return _marked(accuracy, PERCENT)
    return f"{_marked(accuracy, PERCENT)} ±{fixed(50 * (accuracy.high - accuracy.low), 1)}"


def _latency(row: Row) -> Text:
    values = (row.p50, row.p90, row.p99)
    known = [value for value in values if value is not None]
    if not known:
        return Text(_marked(row.expected, MILLISECONDS)) if row.expected else _absent()
    if len({value.kind for value in known}) > 1:
        return Text("/".join(_SMALL_N if value is None else _marked(value, MILLISECONDS) for value in values))
    joined = "/".join(_SMALL_N if value is None else MILLISECONDS.bare(value.value) for value in values)
    return Text(joined + _MARKS[known[0].kind])


def _footnotes(listed: Sequence[Row], results: Mapping[str, Any]) -> list[str]:
    kinds = {value.kind for row in listed for _, value in row.quantities()}
    notes = [f"{_MARKS[kind]} {kind}, not measured" for kind in ("simulated", "estimated") if kind in kinds]
    if any(any((r.p50, r.p90, r.p99)) and not all((r.p50, r.p90, r.p99)) for r in listed if not r.error):
        notes.append(f"{_SMALL_N} {N_TOO_SMALL}")
    if any(row.accuracy and row.accuracy.low is not None for row in listed):
        notes.append("± half of the 95 % interval; drop in percentage points against FP32, positive is worse")
    notes += [f"{row.name}: {row.error}" for row in listed if row.error]
    count = len(mappings(results, "skipped"))
    return notes + ([f"{counted(count, 'image was', 'images were')} skipped"] if count else [])
