"""Where an engine's layers run: shares of nodes and of time on the device asked for, the slowest layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.plots import OKABE_ITO, Figure, base_layout, inert
from edgetl.reporting.read import Row, items, mappings, number, section, text
from edgetl.reporting.sections import figure, paragraph, switches, table_of, titled
from edgetl.reporting.text import MILLISECONDS, NOT_MEASURED, PERCENT, listed

MOST_LAYERS = 15
_LONGEST_LABEL = 40
_LONGEST_LIST = 8

Timed = tuple[Mapping[str, Any], float]


def placement(rows: Sequence[Row]) -> tuple[Html | None, Figure | None]:
    """One table of all engines, and one figure of each one's slowest layers; None where nothing is told."""
    placed = [row for row in rows if section(row.source, "placement")]
    timed = [(row, layers) for row in rows if (layers := _layers(row))]
    if not placed and not timed:
        return None, None
    heads = ("Engine", ("Share of nodes", "Share of time"), ("Device", "What runs elsewhere"))
    table = table_of(heads, [_row(row) for row in placed], "Placement") if placed else None
    words = paragraph("As the engine tells, or its compiler where its device is not here.")
    if not timed:
        return titled("placement", "Placement", words, table), None
    caption = (
        f"The {MOST_LAYERS} layers that take longest, with their share of the time of all layers, as the "
        "runtime's own profiler tells them. Profiling takes time too, so they do not add up to p50."
    )
    place = figure("placement", f"Slowest layers. {_spoken(timed)}", caption)
    choice = switches("placement", [row.name for row, _ in timed])
    heading = el("h3", "Slowest layers")
    return titled("placement", "Placement", words, table, heading, choice, place), _bars(timed)


def _row(row: Row) -> Html:
    told = section(row.source, "placement")
    shares = [number(told.get(f"share_of_{what}")) for what in ("nodes", "time")]
    elsewhere = [clean(layer) for layer in items(told, "elsewhere")]
    more = len(elsewhere) - _LONGEST_LIST
    names = ", ".join(elsewhere[:_LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")
    standing = None if row.p50 else text(row.source, "standing")
    return el(
        "tr",
        el("th", row.name, el("small", standing) if standing else None, scope="row"),
        *(_share(value) for value in shares),
        el("td", text(told, "device") or "not told"),
        el("td", names or ("nothing" if shares[0] == 1 else "not told")),
    )


def _share(value: float | None) -> Html:
    if value is None:
        return el("td", NOT_MEASURED, class_="num none")
    return el("td", PERCENT.full(value), class_="num")


def _layers(row: Row) -> list[Timed]:
    """Layers with their milliseconds, the slowest first."""
    known = [(layer, number(layer.get("ms"))) for layer in mappings(row.source, "layer_times")]
    return sorted([(layer, ms) for layer, ms in known if ms and ms > 0], key=lambda layer: -layer[1])


def _spoken(timed: Sequence[tuple[Row, Sequence[Timed]]]) -> str:
    slowest = [
        (row.name, [f"{text(layer, 'name')} {MILLISECONDS.full(ms)}" for layer, ms in layers[:3]])
        for row, layers in timed
    ]
    return "; ".join(f"{name}: {listed(layers)}" for name, layers in slowest)


def _bars(timed: Sequence[tuple[Row, Sequence[Timed]]]) -> Figure:
    kinds = [_kinds(layers) for _, layers in timed]
    known = sorted({kind for found in kinds for kind in found}, reverse=True)  # int8 before floats
    colours = dict(zip(known, cycle(OKABE_ITO), strict=False))
    traces = [
        {**trace, "visible": engine == 0, "meta": engine}
        for engine, ((_, layers), found) in enumerate(zip(timed, kinds, strict=True))
        for trace in _traces(layers, [(kind, colours[kind]) for kind in found[:MOST_LAYERS]])
    ]
    shown = max(min(MOST_LAYERS, len(layers)) for _, layers in timed)
    layout = base_layout("ms", "", 140 + 24 * shown)
    layout["xaxis"] |= {"rangemode": "tozero"}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "ticklabelstandoff": 6}
    layout["margin"] |= {"r": 120}
    return {"data": traces, "layout": layout | {"barmode": "stack", "bargap": 0.25}}


def _kinds(layers: Sequence[Timed]) -> list[str]:
    """What each layer is coloured by: its device where there are several, else its precision."""
    several = len({text(layer, "device") for layer, _ in layers}) > 1
    return [text(layer, "device" if several else "precision") or "not told" for layer, _ in layers]


def _traces(layers: Sequence[Timed], kinds: Sequence[tuple[str, str]]) -> list[Figure]:
    """One engine's bars, which are one trace so that they stay in order, and a legend of their colours.

    ``kinds`` are (name, colour) of the layers shown.
    """
    total = sum(ms for _, ms in layers)
    shown = layers[: len(kinds)]
    spoken = [f"{text(layer, 'op')} {text(layer, 'name')}" for layer, _ in shown]
    columns: dict[str, list[Any]] = {
        "y": _labels([layer for layer, _ in shown]),
        "x": [float(f"{ms:.4g}") for _, ms in shown],
        "text": [f"{MILLISECONDS.full(ms)}, {PERCENT.full(ms / total)}" for _, ms in shown],
        "customdata": [inert(f"{name}, {kind}") for name, (kind, _) in zip(spoken, kinds, strict=True)],
    }
    bars = {
        "type": "bar",
        "orientation": "h",
        "showlegend": False,
        "marker": {"color": [colour for _, colour in reversed(kinds)]},
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{customdata}<br>%{text}<extra></extra>",
        **{name: list(reversed(values)) for name, values in columns.items()},
    }
    legend = [
        {"type": "bar", "x": [None], "y": [None], "name": inert(kind), "marker": {"color": colour}}
        for kind, colour in sorted(set(kinds), reverse=True)
    ]
    return [bars, *legend]


def _labels(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short and unique: Plotly's categories are their names, so two of a name would be one bar."""
    names = [inert(_short(text(layer, "name") or text(layer, "op"))) for layer in layers]
    return [name if names.index(name) == i else f"{name} #{i + 1}" for i, name in enumerate(names)]


def _short(name: str) -> str:
    half = _LONGEST_LABEL // 2
    return name if len(name) <= _LONGEST_LABEL else f"{name[: half - 1]}…{name[-half:]}"
