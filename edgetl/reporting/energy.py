"""Watts and joules per inference, sensor by sensor, or why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.read import Row, items, mappings, quantity, section, text
from edgetl.reporting.sections import cell, paragraph, remarks, table_of, titled
from edgetl.reporting.text import JOULES, WATTS, listed

_COLUMNS = (
    ("Idle, W", "idle_watts", WATTS),
    ("Load, W", "watts", WATTS),
    ("Energy, J per inference", "joules_per_inference", JOULES),
    ("Above idle, J per inference", "joules_per_inference_above_idle", JOULES),
)


def energy(rows: Sequence[Row]) -> Html | None:
    """One table of all sensors; absent ones are named once for all engines that they are absent for."""
    told = [(row, found) for row in rows if (found := section(row.source, "energy"))]
    if not told:
        return None
    body = [_sensor(row, sensor) for row, found in told for sensor in mappings(found, "sensors")]
    heads = ("Engine", tuple(name for name, _, _ in _COLUMNS), ("Covers", "Does not cover"))
    table = table_of(heads, body, "Energy") if body else None
    notes = [
        f"{row.name}, {text(sensor, 'name')}: {clean(note)}"
        for row, found in told
        for sensor in mappings(found, "sensors")
        for note in items(sensor, "notes")
    ]
    notes += [f"{row.name}: idle is {text(found, 'idle')}" for row, found in told if text(found, "idle")]
    return titled("energy", "Energy", table, remarks(notes), *_absent(told))


def _sensor(row: Row, sensor: Mapping[str, Any]) -> Html:
    about = ", ".join(filter(None, (text(sensor, "name"), text(sensor, "method"))))
    return el(
        "tr",
        el("th", row.name, el("small", about), scope="row"),
        *(cell(quantity(sensor.get(key)), unit) for _, key, unit in _COLUMNS),
        el("td", text(sensor, "covers") or "not told"),
        el("td", text(sensor, "misses") or "not told"),
    )


def _absent(told: Sequence[tuple[Row, Mapping[str, Any]]]) -> list[Html]:
    reasons: dict[tuple[str, ...], list[tuple[str, bool]]] = {}
    for row, found in told:
        lines = tuple(clean(line) for line in items(found, "absent"))
        reasons.setdefault(lines, []).append((row.name, bool(mappings(found, "sensors"))))
    parts = []
    for lines, engines in reasons.items():
        none = [name for name, has in engines if not has]
        names = [name for name, _ in engines]
        title = f"No sensor tells the energy of {listed(none)}." if none else f"Absent for {listed(names)}:"
        listing = remarks(lines)
        parts += [paragraph(title), *([listing] if listing is not None else [])] if none or lines else []
    return parts
