"""The figures, as Plotly's own JSON structure: data and layout, no colours that depend on the page's theme.

``assets/report.js`` draws them and gives fonts, grids and heat-map scales the colours of the style sheet.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from edgetl.errors import MissingDependencyError
from edgetl.quantity import Quantity
from edgetl.reporting.markup import clean
from edgetl.reporting.read import Row
from edgetl.reporting.text import MILLISECONDS

Figure = dict[str, Any]

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe & Ito (2008), Color Universal Design, without black and yellow: these show on both themes."""

REFERENCE_GREY = "#8a929b"
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "star")
_REFERENCE_SYMBOLS = ("x", "asterisk-open", "hourglass", "bowtie")
_DASHES = ("solid", "dash", "dashdot", "longdash")
_REFERENCE_DASHES = ("dot", "longdashdot")
_CURVE_POINTS = 300
_TAIL_POINTS = 20
_LOG_RATIO = 5.0
_LEAST_ERROR = 1e-5
"""What toolchains print cosines to; less is nothing on a logarithmic axis."""


def plotly_js() -> str:
    """The source of plotly.js as the installed Plotly package ships it.

    Raises:
        MissingDependencyError: without Plotly.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingDependencyError("plotly", "report") from error
    return str(get_plotlyjs())


def inert(text: object) -> str:
    """User data as Plotly text: Plotly reads a subset of HTML in labels, so markup is escaped."""
    return html.escape(clean(text), quote=False)


def styles(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """One colour, marker and line a row, the same in every figure: grey for the FP32 references."""
    colours, symbols, dashes = cycle(OKABE_ITO), cycle(_SYMBOLS), _line_dashes()
    grey_symbols, grey_dashes = cycle(_REFERENCE_SYMBOLS), cycle(_REFERENCE_DASHES)
    chosen = {}
    for row in rows:
        colour, symbol, dash = (
            (REFERENCE_GREY, next(grey_symbols), next(grey_dashes))
            if row.reference
            else (next(colours), next(symbols), next(dashes))
        )
        chosen[row.name] = {"color": colour, "symbol": symbol, "dash": dash}
    return chosen


def _line_dashes() -> cycle[str]:
    """The dash changes when the colours begin again, so colour and dash together stay unique."""
    return cycle([dash for dash in _DASHES for _ in OKABE_ITO])


def trade_off(rows: Sequence[Row]) -> Figure | None:
    """Accuracy against median latency with 95 % intervals; None if no row has both."""
    look = styles(rows)
    traces = []
    for row in rows:
        if row.p50 and row.accuracy:
            estimated = {row.p50.kind, row.accuracy.kind} != {"measured"}
            traces.append(_trade_off_point(row, row.p50, row.accuracy, look[row.name], estimated))
    if not traces:
        return None
    x = [row.p50.value for row in rows if row.p50 and row.accuracy]
    layout = base_layout("p50 latency, ms (lower is better)", "accuracy, %", 440)
    layout["xaxis"] |= scale(x)
    return {"data": traces, "layout": layout}


def _trade_off_point(
    row: Row, latency: Quantity, accuracy: Quantity, look: dict[str, str], estimated: bool
) -> Figure:
    kinds = sorted({latency.kind, accuracy.kind} - {"measured"})
    symbol = look["symbol"]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": inert(row.name) + (f" ({', '.join(kinds)})" if kinds else ""),
        "x": [latency.value],
        "y": [100 * accuracy.value],
        "error_x": _bars(latency, 1, look["color"]),
        "error_y": _bars(accuracy, 100, look["color"]),
        "marker": {
            "color": look["color"],
            "size": 12,
            "symbol": symbol if not estimated or symbol.endswith("-open") else f"{symbol}-open",
        },
        "hovertemplate": f"%{{x:.3~g}} ms, %{{y:.1f}} %<br>n = {accuracy.n:,}",
    }


def _bars(quantity: Quantity, factor: float, colour: str) -> Figure:
    if quantity.low is None or quantity.high is None:
        return {"visible": False}
    above, below = quantity.high - quantity.value, quantity.value - quantity.low
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, factor * above)],
        "arrayminus": [max(0.0, factor * below)],
        "color": colour,
        "thickness": 1.2,
        "width": 4,
    }


def latency_curves(rows: Sequence[Row]) -> Figure | None:
    """Empirical distribution functions of the latencies on one axis, p50 marked; None without samples."""
    look = styles(rows)
    shown = [row for row in rows if row.samples]
    if not shown:
        return None
    traces = [trace for row in shown for trace in _curve(row, look[row.name])]
    layout = base_layout("latency, ms", "share of calls at most this long", 420)
    layout["xaxis"] |= scale([extreme for row in shown for extreme in (min(row.samples), max(row.samples))])
    layout["yaxis"] |= {"tickformat": ".0%", "range": [0, 1.02]}
    return {"data": traces, "layout": layout}


def _curve(row: Row, look: dict[str, str]) -> list[Figure]:
    ordered = sorted(row.samples)
    kept = _thinned(len(ordered))
    median = f"  p50 {MILLISECONDS.full(row.p50.value)}" if row.p50 else ""
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": inert(row.name) + median,
        "legendgroup": inert(row.name),
        "x": [float(f"{ordered[i]:.5g}") for i in kept],
        "y": [round((i + 1) / len(ordered), 5) for i in kept],
        "line": {"color": look["color"], "dash": look["dash"], "width": 2, "shape": "hv"},
        "hovertemplate": "%{y:.1%} within %{x:.3~g} ms",
    }
    if row.p50 is None:
        return [line]
    mark = {
        "type": "scatter",
        "mode": "markers",
        "name": inert(row.name),
        "legendgroup": inert(row.name),
        "showlegend": False,
        "x": [row.p50.value],
        "y": [0.5],
        "marker": {"color": look["color"], "symbol": look["symbol"], "size": 10},
        "hovertemplate": "p50 %{x:.3~g} ms",
    }
    return [line, mark]


def _thinned(count: int) -> list[int]:
    """Ranks to draw: evenly spaced, and all of the slowest, where a thinned curve would lie."""
    if count <= _CURVE_POINTS:
        return list(range(count))
    even = {round(i * (count - 1) / (_CURVE_POINTS - 1)) for i in range(_CURVE_POINTS)}
    return sorted(even | set(range(count - _TAIL_POINTS, count)))


def refit(rows: Sequence[tuple[str, Quantity, Quantity]]) -> Figure | None:
    """Accuracy before and after the head was fitted again; ``rows`` are (name, before, after)."""
    if not rows:
        return None
    names = [inert(name) for name, _, _ in reversed(rows)]
    before = [100 * quantity.value for _, quantity, _ in reversed(rows)]
    after = [100 * quantity.value for _, _, quantity in reversed(rows)]
    links = [value for pair in zip(before, after, strict=True) for value in (*pair, None)]
    spots = [name for name in names for _ in range(3)]
    dots = {"type": "scatter", "mode": "markers", "y": names, "hovertemplate": "%{x:.1f} %"}
    orange, blue = OKABE_ITO[1], OKABE_ITO[0]
    link: Figure = {"type": "scatter", "mode": "lines", "x": links, "y": spots, "showlegend": False}
    layout = base_layout("accuracy, %", "", 150 + 38 * len(rows))
    layout["yaxis"] |= {"type": "category", "automargin": True}
    return {
        "data": [
            link | {"line": {"color": REFERENCE_GREY, "width": 2}, "hoverinfo": "skip"},
            dots | {"name": "before", "x": before, "marker": _dot(orange, "circle-open")},
            dots | {"name": "after", "x": after, "marker": _dot(blue, "circle")},
        ],
        "layout": layout,
    }


def layer_errors(engines: Sequence[tuple[str, Sequence[tuple[str, Quantity, Quantity]]]]) -> Figure | None:
    """Own and accumulated error over the layers in their order; ``engines`` are (name, layers), layers
    (name, own, accumulated cosine). None without layers."""
    traces: list[Figure] = []
    for (name, layers), colour in zip(engines, cycle(OKABE_ITO), strict=False):
        own, all_before = [own for _, own, _ in layers], [all_before for _, _, all_before in layers]
        for label, cosines, dash in (("all before too", all_before, "solid"), ("own only", own, "dot")):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": inert(f"{name}: {label}"),
                    "x": list(range(1, len(layers) + 1)),
                    "y": [max(_LEAST_ERROR, round(1 - cosine.value, 6)) for cosine in cosines],
                    "text": [inert(layer) for layer, _, _ in layers],
                    "line": {"color": colour, "dash": dash, "width": 2},
                    "hovertemplate": "%{text}<br>%{y:.1~e}",
                }
            )
    if not any(trace["x"] for trace in traces):
        return None
    layout = base_layout("layer, in order", "error: 1 − cosine to float (simulated)", 380)
    layout["yaxis"] |= scale([error for trace in traces for error in trace["y"]])
    return {"data": traces, "layout": layout}


def _dot(colour: str, symbol: str) -> Figure:
    return {"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}}


def scale(values: Sequence[float]) -> Figure:
    """A logarithmic axis where the values span more than a factor of five, else one that starts at zero."""
    if min(values) > 0 and max(values) > _LOG_RATIO * min(values):
        ticks = _ticks(min(values), max(values))
        return {"type": "log", "tickmode": "array", "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}
    return {"type": "linear", "rangemode": "tozero"}


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 … from the one below ``low`` to the one above ``high``."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ladder = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    first = max(tick for tick in ladder if tick <= low)
    last = min((tick for tick in ladder if tick >= high), default=ladder[-1])
    return [tick for tick in ladder if first <= tick <= last]


def base_layout(x: str, y: str, height: int) -> Figure:
    """What all figures share: axis titles, a legend below, a transparent ground."""
    return {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 60},
        "xaxis": {"title": {"text": x}, "automargin": True},
        "yaxis": {"title": {"text": y}, "automargin": True},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
