"""How much of a device an engine uses: the roofline, and the layers that are farthest from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from edgetl.quantity import Kind, Quantity
from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.plots import OKABE_ITO, REFERENCE_GREY, Figure, base_layout, inert
from edgetl.reporting.read import Row, items, mappings, number, quantity, section, text
from edgetl.reporting.sections import cell, figure, paragraph, remarks, switches, table_of, titled
from edgetl.reporting.text import (
    GIGABYTES_PER_S,
    MILLISECONDS,
    PERCENT,
    TERA_OPS,
    Unit,
    counted,
    fixed,
    in_prose,
    listed,
    significant,
)

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_APART = 1.05
_MILLIONS = Unit(1e-6, significant)
_LARGEST_MARK = 34
_SLOWEST_NAMED = 8


@dataclass(frozen=True)
class _Point:
    """A layer: operations a byte, 10^9 operations a second, milliseconds."""

    layer: Mapping[str, Any]
    intensity: float
    rate: float
    ms: float


def roofline(rows: Sequence[Row]) -> tuple[Html | None, Figure | None]:
    """A sentence and a table an engine, one figure of all; None where no engine has one."""
    told = [row for row in rows if section(row.source, "roofline")]
    if not told:
        return None, None
    drawn = [(row, points) for row in told if (points := _points(section(row.source, "roofline")))]
    known = [row for row in told if section(section(row.source, "roofline"), "peak")]
    table = [table_of(_HEADS, [_facts(row) for row in known], "Peaks and bounds")] if known else []
    parts = [*table, *(part for row in told for part in _engine(row))]
    if not drawn:
        return titled("roofline", "Roofline", *parts), None
    caption = (
        "Each point is a layer, its area the time it takes: to the right, more arithmetic a byte; up, more "
        "arithmetic a second. Lines are what the device can do at most, so the room above a point is what "
        "the layer loses. Layers without multiply-accumulates have no place here."
    )
    spoken = "; ".join(
        f"{row.name}: {counted(len(points), 'layer')}, "
        f"the fastest at {significant(max(p.rate for p in points))} billion operations a second"
        for row, points in drawn
    )
    place = figure("roofline", f"Achieved arithmetic against arithmetic intensity. {spoken}", caption)
    choice = switches("roofline", [row.name for row, _ in drawn])
    traces = [trace for i, (row, points) in enumerate(drawn) for trace in _traces(row, points, i)]
    layout = base_layout("operations a byte", "10⁹ operations a second", 460)
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"type": "log", "dtick": "D2" if axis == "xaxis" else 1}
    layout["hovermode"] = "closest"
    layout["legend"] |= {"itemsizing": "constant", "itemwidth": 60}
    return titled("roofline", "Roofline", choice, place, *parts), {"data": traces, "layout": layout}


def share_sentence(row: Row) -> str:
    """``"this engine runs at 41 % of what its device can do"``; empty where it is not known."""
    share = quantity(section(row.source, "roofline").get("share_of_device"))
    return f"runs at {in_prose(share, PERCENT)} of what its device can do" if share else ""


def _engine(row: Row) -> Iterator[Html | None]:
    found = section(row.source, "roofline")
    yield el("h3", row.name)
    if reason := text(found, "reason"):
        yield el("p", f"Not known: {reason}.")
        return
    worst = [clean(name) for name in items(found, "worst")]
    layers = (
        "the layer that loses most is" if len(worst) == 1 else f"the {_number(len(worst))} that lose most"
    )
    losing = f"{layers}{'' if len(worst) == 1 else ' are'} {listed(worst)}" if worst else ""
    share = share_sentence(row)
    sentence = "; ".join(filter(None, (f"this engine {share}" if share else "", losing)))
    yield el("p", f"{sentence[0].upper()}{sentence[1:]}.") if sentence else None
    yield _slowest(row, found)
    yield remarks(items(found, "notes"))


def _number(count: int) -> str:
    return {2: "two layers", 3: "three layers"}.get(count, f"{count} layers")


_HEADS = (
    "Engine",
    (
        *("INT8 peak, TOPS", "Float peak, TOPS", "Memory, GB/s", "MACs, millions", "Bytes, millions"),
        *("Least time, ms", "p50, ms"),
    ),
    ("Source of the peaks",),
)


def _facts(row: Row) -> Html:
    """Peaks and bound, each with its kind."""
    found = section(row.source, "roofline")
    peak = section(found, "peak")
    bound, macs, size = quantity(found.get("bound_ms")), number(found.get("macs")), number(found.get("bytes"))
    numbers = (
        cell(_of_peak(peak, peak.get("tops")), TERA_OPS, "not known"),
        cell(_of_peak(peak, peak.get("float_tops")), TERA_OPS, "not known"),
        cell(_of_peak(peak, peak.get("bandwidth_gbps")), GIGABYTES_PER_S, "not known"),
        el("td", _MILLIONS.bare(macs) if macs else "–", class_="num"),
        el("td", _MILLIONS.bare(size) if size else "–", class_="num"),
        cell(bound, MILLISECONDS, "not known"),
        cell(row.p50, MILLISECONDS),
    )
    return el("tr", el("th", row.name, scope="row"), *numbers, el("td", text(peak, "source") or "not told"))


def _of_peak(peak: Mapping[str, Any], value: object) -> Quantity | None:
    figure = number(value)
    kind: Kind = "measured" if text(peak, "kind") == "measured" else "estimated"
    return None if figure is None else Quantity(figure, None, None, 0, kind)


def _slowest(row: Row, found: Mapping[str, Any]) -> Html | None:
    """The layers that lose most; their bounds are estimates, their times the profiler's, scaled to p50."""
    known = [(layer, number(layer.get("lost_ms"))) for layer in mappings(found, "layers")]
    losing = sorted([(layer, ms) for layer, ms in known if ms and ms > 0], key=lambda layer: -layer[1])
    if not losing:
        return None
    body = [
        el(
            "tr",
            el("th", text(layer, "name"), el("small", text(layer, "op")), scope="row"),
            *(
                cell(_estimate(layer.get(name)), MILLISECONDS, "not known")
                for name in ("lost_ms", "ms", "bound_ms")
            ),
            el("td", text(layer, "bound")),
        )
        for layer, _ in losing[:_SLOWEST_NAMED]
    ]
    heads = ("Layers that lose most", ("Lost, ms", "Takes, ms", "Least time, ms"), ("Bound by",))
    share = sum(ms for _, ms in losing[:_SLOWEST_NAMED]) / sum(ms for _, ms in losing)
    about = paragraph(
        f"These lose {fixed(100 * share, 0)} % of what is lost. Layers' times are the profiler's, scaled so "
        "that they add up to p50."
    )
    table = table_of(heads, body, f"Layers of {row.name} that lose most", fit=True)
    return el("details", el("summary", "Layers that lose most"), table, about)


def _estimate(value: object) -> Quantity | None:
    figure = number(value)
    return None if figure is None else Quantity(figure, None, None, 0, "estimated")


def _points(found: Mapping[str, Any]) -> list[_Point]:
    points = []
    for layer in mappings(found, "layers"):
        macs, size, ms = (number(layer.get(name)) for name in ("macs", "bytes", "ms"))
        if macs and size and ms and min(macs, size, ms) > 0:
            points.append(_Point(layer, 2 * macs / size, 2 * macs / ms / 1e6, ms))
    return points


def _traces(row: Row, points: Sequence[_Point], engine: int) -> Iterator[Figure]:
    shared = {"visible": engine == 0, "meta": engine}
    peak = section(section(row.source, "roofline"), "peak")
    for line, dash in zip(_roofs(peak, points), cycle(_DASHES), strict=False):
        yield {
            **shared,
            "type": "scatter",
            "mode": "lines",
            "line": {"color": REFERENCE_GREY, "dash": dash, "width": 1.5},
            "hovertemplate": "%{fullData.name}<extra></extra>",
            **line,
        }
    slowest = max(point.ms for point in points)
    for bound, colour in zip(("compute", "memory"), OKABE_ITO, strict=False):
        own = [point for point in points if (text(point.layer, "bound") == "memory") == (bound == "memory")]
        if own:
            yield {**shared, **_cloud(own, bound, colour, slowest)}


def _cloud(points: Sequence[_Point], bound: str, colour: str, slowest: float) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"layers bound by {bound}",
        "x": [float(f"{point.intensity:.4g}") for point in points],
        "y": [float(f"{point.rate:.4g}") for point in points],
        "text": [inert(f"{text(p.layer, 'op')} {text(p.layer, 'name')}") for p in points],
        "customdata": [MILLISECONDS.full(point.ms) for point in points],
        "marker": {
            "color": colour,
            "opacity": 0.65,
            "size": [float(f"{point.ms:.4g}") for point in points],
            "sizemode": "area",
            "sizeref": 2 * slowest / _LARGEST_MARK**2,
            "sizemin": 3,
        },
        "hovertemplate": "%{text}<br>%{customdata}<br>%{x:.3~g} operations a byte, "
        "%{y:.3~g}·10⁹ a second<extra></extra>",
    }


def _roofs(peak: Mapping[str, Any], points: Sequence[_Point]) -> list[Figure]:
    """The device's limits as lines: one a bandwidth up to the highest peak, one a peak."""
    tops = [
        (name, 1e3 * value)
        for name, key in (("INT8", "tops"), ("float", "float_tops"))
        if (value := number(peak.get(key)))
    ]
    bandwidths = _bandwidths(peak)
    ceiling = max((rate for _, rate in tops), default=max(point.rate for point in points))
    ridges = [ceiling / speed for _, speed in bandwidths]
    first = min([point.intensity for point in points] + ridges) / 2
    last = max([point.intensity for point in points] + ridges) * 2
    fastest = max((speed for _, speed in bandwidths), default=None)
    lines = []
    for name, rate in tops:
        start = max(first, rate / fastest) if fastest else first
        label = f"{name} peak, {TERA_OPS.full(rate / 1e3)}"
        lines.append({"name": label, "x": [start, last], "y": [rate, rate]})
    for name, speed in bandwidths:
        label = f"{name}, {GIGABYTES_PER_S.full(speed)}"
        lines.append({"name": label, "x": [first, ceiling / speed], "y": [first * speed, ceiling]})
    return [line | {axis: [float(f"{v:.5g}") for v in line[axis]] for axis in ("x", "y")} for line in lines]


def _bandwidths(peak: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(what it is of, GB/s) of memory and caches; no line for a cache that would lie on a larger one's."""
    caches = [(number(c.get("bytes")), number(c.get("bandwidth_gbps"))) for c in mappings(peak, "caches")]
    memory = number(peak.get("bandwidth_gbps"))
    known = sorted([(size, speed) for size, speed in caches if size and speed], reverse=True)
    lines: list[tuple[str, float]] = [("memory", memory)] if memory else []
    for size, speed in known:
        if all(speed > _APART * faster for _, faster in lines):
            lines.append((f"cache of {_size(size)}", speed))
    return lines


def _size(count: float) -> str:
    mebibytes = count / 2**20
    return f"{mebibytes:g} MiB" if mebibytes >= 1 else f"{count / 2**10:g} KiB"
