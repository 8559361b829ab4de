"""Confusion matrices: reading them, the switchable heat map, the worst confusions in words."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from edgetl.reporting.plots import Figure, base_layout, inert
from edgetl.reporting.read import items

_LABELLED_CELLS = 20
_LABELLED_TICKS = 40
_GAPS_UP_TO = 40

_HOVER = "truth %{y}<br>predicted %{x}<br>%{text} images, %{z:.1%} of truth<extra></extra>"

Matrix = list[list[int]]


def heat_maps(labels: Sequence[str], matrices: Sequence[tuple[str, Matrix]]) -> Figure | None:
    """Confusion matrices, one visible at a time: two traces each, the diagonal and what is off it.

    The two have colour scales of their own, and all matrices share them, so that a few errors among many
    hits can be seen and engines compared. Colour is the share of a row (a true class). ``matrices`` are
    (name, counts), counts ``[classes][classes]`` with truth down and prediction across.
    """
    if not matrices:
        return None
    size = len(labels)
    names = _unique([inert(label) for label in labels])
    traces = [t for i, (_, counts) in enumerate(matrices) for t in _pair(names, counts, engine=i)]
    worst = max((z for trace in traces[1::2] for z in trace["z"] if z), default=1.0)
    layout = base_layout("predicted", "truth", 760 if size > 30 else 480)
    layout["xaxis"] |= _class_axis(names)
    layout["yaxis"] |= _class_axis(names) | {"range": [size - 0.5, -0.5], "scaleanchor": "x"}
    layout |= {
        "coloraxis": {"cmin": 0, "cmax": 1, "showscale": False},
        "coloraxis2": {"cmin": 0, "cmax": worst, "showscale": False},
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def _pair(names: list[str], counts: Matrix, engine: int) -> list[Figure]:
    diagonal: list[tuple[int, int, int | None]] = [(i, i, row[i]) for i, row in enumerate(counts)]
    # The empty cells make every class known to the second trace; else Plotly stretches cells over gaps.
    off: list[tuple[int, int, int | None]] = [(i, i, None) for i in range(len(counts))]
    off += [(i, j, n) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    totals = [max(1, sum(row)) for row in counts]
    return [
        {
            "type": "heatmap",
            "coloraxis": axis,
            "visible": engine == 0,
            "meta": engine,
            "x": [names[j] for _, j, _ in cells],
            "y": [names[i] for i, _, _ in cells],
            "z": [None if n is None else round(n / totals[i], 4) for i, _, n in cells],
            "text": ["" if n is None else str(n) for _, _, n in cells],
            "texttemplate": "%{text}" if len(names) <= _LABELLED_CELLS else "",
            "hovertemplate": _HOVER,
            "hoverongaps": False,
            "xgap": 1 if len(names) <= _GAPS_UP_TO else 0,
            "ygap": 1 if len(names) <= _GAPS_UP_TO else 0,
        }
        for axis, cells in (("coloraxis", diagonal), ("coloraxis2", off))
    ]


def _class_axis(names: list[str]) -> Figure:
    step = -(-len(names) // _LABELLED_TICKS)
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names,
        "range": [-0.5, len(names) - 0.5],
        "tickmode": "array",
        "tickvals": list(range(0, len(names), step)),
        "ticktext": [_short(html.unescape(name)) for name in names[::step]],
        "showgrid": False,
        "zeroline": False,
        "constrain": "domain",
        "ticks": "",
    }


def _short(label: str, length: int = 14) -> str:
    """Shortened in the middle: names of a family often differ at their ends."""
    return inert(label if len(label) <= length else f"{label[: length - 7]}…{label[-6:]}")


def _unique(names: list[str]) -> list[str]:
    """Plotly's categories are their names, so two of a name would be one row."""
    return [name if names.index(name) == i else f"{name} #{i}" for i, name in enumerate(names)]


def matrix(source: Any, classes: int) -> Matrix | None:
    """A document's confusion matrix if it is square with ``classes`` rows of counts, else None."""
    grid = items({"m": source}, "m")
    square = len(grid) == classes > 0 and all(
        isinstance(r, (list, tuple)) and len(r) == classes for r in grid
    )
    if not square or not all(isinstance(n, (int, float)) for row in grid for n in row):
        return None
    return [[int(n) for n in row] for row in grid]


def worst(labels: Sequence[str], counts: Matrix, most: int = 5) -> str:
    """The most frequent confusions: ``"3 → 5 (4), 8 → 1 (2)"``; empty if there are none."""
    cells = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    ordered = sorted(cells, key=lambda cell: (-cell[0], cell[1], cell[2]))
    return ", ".join(f"{labels[i]} → {labels[j]} ({n})" for n, i, j in ordered[:most])
