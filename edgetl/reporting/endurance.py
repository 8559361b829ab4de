"""Latency over minutes, with the machine's clock and temperature, and what was found in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.plots import Figure, base_layout, inert, scale, styles
from edgetl.reporting.read import Row, items, mappings, number, quantity, section, text
from edgetl.reporting.sections import cell, figure, remarks, table_of, titled
from edgetl.reporting.text import MILLISECONDS, TIMES, in_prose

_THROTTLED = {True: ("yes", "failed"), False: ("no", "passed")}


def endurance(rows: Sequence[Row]) -> tuple[Html | None, Figure | None]:
    """One table and one figure of all engines that ran for minutes; None where none did."""
    told = [(row, found) for row in rows if (found := section(row.source, "sustained"))]
    if not told:
        return None, None
    heads = ("Engine", ("Minutes", "First p50, ms", "Last p50, ms", "Last/first"), ("Throttled", "Found"))
    table = table_of(heads, [_row(row, found) for row, found in told], "Endurance")
    notes = remarks([f"{row.name}: {clean(note)}" for row, found in told for note in items(found, "notes")])
    drawing = _drawing(rows, told)
    if drawing is None:
        return titled("endurance", "Endurance", table, notes), None
    spoken = "; ".join(_spoken(row, found) for row, found in told)
    caption = "p50 of windows, one after the other, without a pause."
    if len(drawing["layout"].keys() & {"yaxis2", "yaxis3"}):
        caption += " Below, as far as machines tell: clocks (lines, left) and temperatures (dots, right)."
    place = figure("endurance", f"Latency over time. {spoken}", caption)
    return titled("endurance", "Endurance", table, place, notes), drawing


def _row(row: Row, found: Mapping[str, Any]) -> Html:
    seconds = number(found.get("seconds"))
    throttled = found.get("throttled")
    words, style = (
        _THROTTLED.get(throttled, ("", "")) if isinstance(throttled, bool) else ("not known", "none")
    )
    changes = [text(change, "text") for change in mappings(found, "changes")]
    return el(
        "tr",
        el("th", row.name, scope="row"),
        el("td", f"{seconds / 60:.1f}" if seconds else "–", class_="num"),
        *(cell(quantity(section(found, part).get("p50_ms")), MILLISECONDS) for part in ("first", "last")),
        cell(quantity(found.get("slowdown")), TIMES),
        el("td", words, class_=style),
        el("td", "; ".join(filter(None, changes)) or "no change of level"),
    )


def _spoken(row: Row, found: Mapping[str, Any]) -> str:
    slowdown = quantity(found.get("slowdown"))
    return f"{row.name}: last over first {in_prose(slowdown, TIMES)}" if slowdown else row.name


def _drawing(rows: Sequence[Row], told: Sequence[tuple[Row, Mapping[str, Any]]]) -> Figure | None:
    look = styles(rows)
    traces = [
        {**trace, "legendgroup": inert(row.name), "name": inert(row.name + more)}
        for row, found in told
        for more, trace in _curves(found, look[row.name])
    ]
    latencies = [value for trace in traces if trace.get("yaxis", "y") == "y" for value in trace["y"]]
    if not latencies:
        return None
    layout = base_layout("minutes", "p50, ms", 340)
    layout["xaxis"] |= {"rangemode": "tozero"}
    layout["yaxis"] |= scale(latencies)
    below = {trace["yaxis"] for trace in traces if "yaxis" in trace}
    shared = {"domain": [0, 0.32], "automargin": True, "nticks": 5, "tickmode": "auto"}
    if below:
        layout["height"] = 480
        layout["xaxis"] |= {"anchor": "free", "position": 0}
        layout["yaxis"] |= {"domain": [0.42, 1]}
        layout["margin"] |= {"r": 64}
    if "y2" in below:
        layout["yaxis2"] = {**shared, "title": {"text": "clock, MHz"}, "rangemode": "tozero"}
    if "y3" in below:
        hot = {"title": {"text": "temperature, °C"}, "side": "right", "showgrid": False}
        layout["yaxis3"] = {**shared, **hot} | ({"overlaying": "y2"} if "y2" in below else {})
    return {"data": traces, "layout": layout | {"hovermode": "closest"}}


def _curves(found: Mapping[str, Any], look: Mapping[str, str]) -> Iterator[tuple[str, Figure]]:
    """(what it is beside the engine's name, trace) of latency, clocks and temperature, as far as known."""
    solid: Figure = {"mode": "lines", "line": {"color": look["color"], "width": 2}}
    dashed = solid | {"line": {"color": look["color"], "width": 2, "dash": "dash"}}
    dots: Figure = {"mode": "markers", "marker": {"color": look["color"], "size": 5}}
    for key, more, unit, style in (
        ("p50_ms", "", "ms", solid),
        ("mhz", ": clock", "MHz", solid | {"yaxis": "y2"}),
        ("gpu_mhz", ": GPU clock", "MHz", dashed | {"yaxis": "y2"}),
        ("temperature_c", ": temperature", "°C", dots | {"yaxis": "y3"}),
    ):
        known = [(number(w.get("t_s")), number(w.get(key))) for w in mappings(found, "windows")]
        spots = [(t, value) for t, value in known if t is not None and value is not None]
        if spots:
            yield (
                more,
                {
                    "type": "scatter",
                    "x": [round(t / 60, 4) for t, _ in spots],
                    "y": [float(f"{value:.5g}") for _, value in spots],
                    "showlegend": not more,
                    "hovertemplate": f"%{{y:.4~g}} {unit} at %{{x:.2~f}} min",
                    **style,
                },
            )
