"""Where quantization costs accuracy, layer by layer, as an engine's own toolchain tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetl.quantity import Quantity
from edgetl.reporting import plots
from edgetl.reporting.markup import Html, el
from edgetl.reporting.plots import Figure
from edgetl.reporting.read import Row, mappings, quantity, section, text
from edgetl.reporting.sections import boxed, cell, figure, paragraph, titled
from edgetl.reporting.text import Unit, fixed

_SHOWN = 8
_COSINE = Unit(1, lambda x: fixed(x, 5))


def layer_errors(rows: Sequence[Row]) -> tuple[Html | None, Figure | None]:
    """One figure of all engines, and each one's worst layers; None where no toolchain analysed any."""
    told = [(row, section(row.source, "error_analysis")) for row in rows]
    told = [(row, found) for row, found in told if found]
    if not told:
        return None, None
    words = (
        "One less the cosine of a layer's INT8 output to its float output: with the layer's own error only, "
        "and with all errors before it. A layer that stands out by itself is one to keep in float."
    )
    drawing = plots.layer_errors([(row.name, _curves(found)) for row, found in told])
    place = figure("errors", f"Error by layer. {_spoken(told)}", words) if drawing else None
    content = [part for row, found in told for part in _engine(row, found)]
    return titled("errors", "Errors by layer", place, *content), drawing


def _curves(found: Mapping[str, Any]) -> list[tuple[str, Quantity, Quantity]]:
    """Name, own error and accumulated error of each layer that has both."""
    layers = [
        (
            f"{text(layer, 'op')} {text(layer, 'name')}",
            quantity(layer.get("single")),
            quantity(layer.get("entire")),
        )
        for layer in mappings(found, "layers")
    ]
    return [(name, own, all_) for name, own, all_ in layers if own and all_]


def _worst(found: Mapping[str, Any]) -> list[tuple[str, Quantity, Quantity]]:
    return sorted(_curves(found), key=lambda layer: layer[1].value)[:_SHOWN]


def _spoken(told: Sequence[tuple[Row, Mapping[str, Any]]]) -> str:
    worst = [(row.name, layers[0]) for row, found in told if (layers := _worst(found))]
    return "; ".join(f"{name}: worst {layer} at {_COSINE.full(own.value)}" for name, (layer, own, _) in worst)


def _engine(row: Row, found: Mapping[str, Any]) -> list[Html]:
    about = paragraph(f"{text(found, 'source')}: {text(found, 'note')}")
    parts = [el("h3", row.name), about]
    if (twin := quantity(found.get("twin_cosine"))) is not None:
        line = el("tr", el("th", "twin's logits to this engine's, cosine", scope="row"), cell(twin, _COSINE))
        parts.append(boxed(el("table", el("tbody", line), class_="facts"), f"Twin of {row.name}", fit=True))
    if worst := _worst(found):
        heads = ("Worst layers", "Own error, cosine", "All errors before it too, cosine")
        head = el("tr", *(el("th", name, scope="col") for name in heads))
        body = [
            el("tr", el("th", name, scope="row"), cell(own, _COSINE), cell(all_, _COSINE))
            for name, own, all_ in worst
        ]
        table = el("table", el("thead", head), el("tbody", *body))
        parts.append(boxed(table, f"Worst layers of {row.name}", fit=True))
    return parts
