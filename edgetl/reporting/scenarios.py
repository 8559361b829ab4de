"""Other ways to run an engine than one image after the other: MLPerf's scenarios, end-to-end, cold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.read import Row, items, number, quantity, section, text
from edgetl.reporting.sections import boxed, cell, count_cell, number_head, paragraph, remarks, titled
from edgetl.reporting.text import (
    MILLISECONDS,
    N_TOO_SMALL,
    NOT_MEASURED,
    PERCENT,
    RATE,
    TIMES,
    counted,
)

_PARTS = ("multi_stream", "end_to_end", "cold_start")
_PERCENTILES = ("p50", "p90", "p99")


def scenarios(rows: Sequence[Row]) -> Html | None:
    """One table an engine; None where only single-stream latency and throughput were measured."""
    told = [row for row in rows if any(section(row.source, part) for part in _PARTS)]
    if not told:
        return None
    words = (
        "Single-stream, multi-stream and offline are MLPerf Inference's scenarios, by its names; it ranks "
        "them by p90, by p99 and by samples a second. Its rules for a submission were not kept, so none of "
        "these is an MLPerf result. End-to-end and engine only were timed in turns. Jitter is "
        "the interquartile range over p50."
    )
    content = [part for row in told for part in _engine(row)]
    return titled("scenarios", "Ways to run", paragraph(words), *content)


def _engine(row: Row) -> list[Html | None]:
    groups = [*_streams(row), *_whole(row), *_cold(row)]
    table = boxed(el("table", *groups, class_="wide"), f"Ways to run {row.name}", fit=True)
    return [el("h3", row.name), table, remarks([*_threads(row), *_notes(row)])]


def _group(title: str, *heads: str) -> Html:
    return el("thead", el("tr", el("th", title, scope="col"), *map(number_head, heads)))


def _streams(row: Row) -> list[Html]:
    multi = section(row.source, "multi_stream")
    samples = number(multi.get("samples_per_query"))
    single = {**section(row.source, "latency_ms"), "jitter": row.source.get("jitter")}
    of_query = f"{samples:.0f} samples a query" if samples else "samples a query not told"
    lines = [_line("Single-stream", "1 sample a query", single)]
    if multi:
        lines.append(_line("Multi-stream", of_query, section(multi, "latency_ms")))
    if row.throughput:
        blank = [el("td") for _ in range(5)]
        lines.append(
            el(
                "tr",
                el("th", "Offline", el("small", "all samples at once"), scope="row"),
                *blank,
                cell(row.throughput, RATE),
                count_cell(row.throughput.n),
            )
        )
    return [_group("Scenario", *_heads(), "Samples/s", "n"), el("tbody", *lines)]


def _heads() -> list[str]:
    return [*(f"{name}, ms" for name in _PERCENTILES), "Maximum, ms", "Jitter"]


def _line(name: str, about: str, latency: Mapping[str, Any], last: Html | None = None) -> Html:
    found = [quantity(latency.get(key)) for key in _PERCENTILES]
    p50 = found[0]
    absent = N_TOO_SMALL if p50 else NOT_MEASURED
    return el(
        "tr",
        el("th", name, el("small", about), scope="row"),
        *(cell(value, MILLISECONDS, absent) for value in found),
        cell(quantity(latency.get("maximum")), MILLISECONDS),
        cell(quantity(latency.get("jitter")), PERCENT),
        last if last is not None else el("td"),
        count_cell(p50.n if p50 else 0),
    )


def _whole(row: Row) -> list[Html]:
    found = section(row.source, "end_to_end")
    if not found:
        return []
    ratio = quantity(found.get("ratio"))
    pictures = number(found.get("pictures"))
    about = (
        f"decode to logits, {counted(int(pictures), 'picture')} in turn" if pictures else "decode to logits"
    )
    return [
        _group("End to end", *_heads(), "Ratio", "n"),
        el(
            "tbody",
            _line("Engine only", "the picture decoded before", section(found, "engine_only")),
            _line("End-to-end", about, section(found, "end_to_end"), cell(ratio, TIMES)),
        ),
    ]


def _cold(row: Row) -> list[Html]:
    found = section(row.source, "cold_start")
    if not found:
        return []
    values = [quantity(found.get(f"{name}_ms")) for name in ("import", "load", "first_inference")]
    n = max((value.n for value in values if value), default=0)
    return [
        _group("Cold start", "Import, ms", "Load, ms", "First inference, ms", "", "", "", "n"),
        el(
            "tbody",
            el(
                "tr",
                el("th", "In a fresh process", el("small", "n processes"), scope="row"),
                *(cell(value, MILLISECONDS) for value in values),
                *(el("td") for _ in range(3)),
                count_cell(n),
            ),
        ),
    ]


def _notes(row: Row) -> list[str]:
    lines = [("cold start", [section(row.source, "cold_start").get("note")])]
    lines += [("multi-stream", items(section(section(row.source, "multi_stream"), "latency_ms"), "notes"))]
    whole = section(row.source, "end_to_end")
    lines += [
        (name, items(section(whole, key), "notes"))
        for name, key in (("engine only", "engine_only"), ("end-to-end", "end_to_end"))
    ]
    said = [(name, clean(note)) for name, notes in lines for note in notes if note]
    return [note if note.startswith(name) else f"{name}: {note}" for name, note in said]


def _threads(row: Row) -> list[str]:
    """On how many processors, and with how many threads."""
    found = section(row.source, "threads")
    cpus, logical = items(found, "cpus"), number(found.get("logical"))
    if not cpus:
        return []
    of = f" of {logical:.0f}" if logical else ""
    threads = text(found, "runtime_threads") or text(found, "threads")
    held = number(found.get("pinned_threads"))
    parts = [
        f"on processors {', '.join(map(clean, cpus))}: {len(cpus)}{of}",
        f"{threads} threads" if threads else "as many threads as the runtime chose",
        f"{counted(int(held), 'thread')} held to one processor" if held else "",
        f"isolated processors: {text(found, 'isolated')}" if text(found, "isolated") else "",
    ]
    return [", ".join(part for part in parts if part)]
