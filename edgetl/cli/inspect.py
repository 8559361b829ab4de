"""edgetl inspect PATH."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.cli.common import json_option, print_json, result_console

if TYPE_CHECKING:
    from rich.table import Table

Facts = Mapping[str, Any]

_LAYER, _KIND, _TACTIC, _NODE = 22, 11, 9, 16
"""Longest names shown, so that a row fits 100 columns."""

_DIGESTS = ("sha256", "bytes")
_MEGABYTES_FROM = 100_000


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--all", "all_layers", is_flag=True, help="List every layer.")
@json_option
def command(path: Path, all_layers: bool, as_json: bool) -> int:
    """Show what is inside PATH, a bundle or an engine file: version, precision, placement, layers."""
    from edgetl import api

    facts = api.inspect(path, all_layers=all_layers)
    if as_json:
        print_json(facts)
        return 1 if facts["damage"] else 0
    if facts["layers"]:
        result_console().print(_table(facts["layers"]["rows"]))
    for name, text in _lines(facts):
        click.echo(f"{name:10} {text}")
    return 1 if facts["damage"] else 0


def _lines(facts: Facts) -> Iterator[tuple[str, str]]:
    size = facts["size_bytes"]
    shown = f"{size / 1e6:,.2f} MB" if size >= _MEGABYTES_FROM else f"{size:,} bytes"
    yield "file", f"{facts['file']}: {facts['what']}, {shown}"
    if bundle := facts["bundle"]:
        asked = " + ".join(dict.fromkeys(bundle["asked"].values()))
        yield "target", f"{bundle['target']} ({bundle['backend']}), asked for {asked}"
        yield "made", f"{bundle['created']} on {bundle['device']}"
    if precision := facts["precision"]:
        yield "precision", f"{precision['used']} (layers: {_counts(precision['executed'])})"
    if place := facts["placement"]:
        yield "placement", f"{place['device']}, {place['share_of_nodes']:.0%} of nodes"
    yield from _building(facts["build"] or facts["plan"] or {})
    if layers := facts["layers"]:
        yield "layers", f"{layers['total']}: {_counts(layers['by_kind'])}"
        yield "reformats", f"{layers['reformats']} of the layers only move or convert data"
        yield "products", f"{_counts(layers['arithmetic'])} (counted by {layers['counted']})"
        yield from (("finding", finding) for finding in layers["findings"])
    yield from (("note", note) for note in facts["notes"])
    if facts["damage"]:
        yield "damaged", facts["damage"]


def _building(facts: Facts) -> Iterator[tuple[str, str]]:
    """How an engine was built, or is to be built."""
    for name in ("settings", "key", "memory"):
        known = (facts.get(name) or {}).items()
        told = [(key, value) for key, value in known if value not in (None, []) and key not in _DIGESTS]
        if told:
            yield name, ", ".join(f"{key} {_plain(value)}" for key, value in told)
    if needs := facts.get("needs_mb"):
        yield "needs", f"{needs['value']:,} MB to build ({needs['kind']})"
    if "trtexec" in facts:
        yield "command", facts["trtexec"]
    yield from (("check", check) for check in facts.get("checks", ()))


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _table(rows: Sequence[Facts]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    timed = any(row["milliseconds"] is not None for row in rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for name in ("layer", "kind", "precision", "tactic", "ONNX nodes", "output"):
        table.add_column(name, no_wrap=True)
    for name in ("kB", "ms") if timed else ("kB",):
        table.add_column(name, no_wrap=True, justify="right")
    for row in rows:
        cells = [
            _short(row["layer"], _LAYER),
            _short(row["kind"], _KIND),
            row["precision"],
            _short(row["tactic"], _TACTIC),
            _nodes(row["onnx_nodes"]),
            "x".join(map(str, row["output"] or ())),
            "?" if row["constant_bytes"] is None else f"{row['constant_bytes'] / 1e3:.1f}",
        ]
        if timed:
            cells.append("–" if row["milliseconds"] is None else f"{row['milliseconds']:.3f}")
        table.add_row(*map(Text, cells), style="" if row["multiplies"] else "dim")
    return table


def _nodes(names: Sequence[str]) -> str:
    """The first one, and how many more were fused into the layer."""
    rest = f" +{len(names) - 1}" if len(names) > 1 else ""
    return _short(names[0], _NODE - len(rest)) + rest if names else ""


def _short(text: str, width: int) -> str:
    """The ends of a long name: generated ones differ in their last characters."""
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[: width - 1 - half]}…{text[-half:]}"
