"""The tables Vela writes about a compilation, read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_NPU = "NPU"
_LAST = "Name"
_COLUMNS = ("Original Operator", "NNG Operator", "Target", "Op Cycles", "MAC Count", _LAST)


@dataclass(frozen=True)
class Layer:
    """One operator as Vela scheduled it.

    Attributes:
        operator: of the model, as in ``Conv2D``.
        runs_as: what Vela made of it.
        on_npu: whether the accelerator runs it.
        cycles: Vela's estimate; 0 for what is fused into another.
        macs: multiply-accumulates.
        output: name of its output tensor.
    """

    operator: str
    runs_as: str
    on_npu: bool
    cycles: int
    macs: int
    output: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_layers(path: Path) -> tuple[Layer, ...]:
    """Layers of Vela's per-layer table, in execution order.

    Raises:
        ValueError: if it is no such table.
    """
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    columns = header.split(",")
    if columns[-1] != _LAST or not set(_COLUMNS) <= set(columns):
        raise ValueError(f"{path.name} has other columns than Vela 5.2's")
    # Vela quotes nothing, and only the last column holds names of the user's
    rows = [dict(zip(columns, line.split(",", len(columns) - 1), strict=True)) for line in lines if line]
    return tuple(
        Layer(
            row["Original Operator"],
            row["NNG Operator"],
            row["Target"] == _NPU,
            int(row["Op Cycles"]),
            int(row["MAC Count"]),
            row[_LAST],
        )
        for row in rows
    )


def read_summary(path: Path) -> Mapping[str, str | float]:
    """Vela's summary table, one row: numbers where a column holds one, else text.

    Raises:
        ValueError: if it has not one row of as many columns as its header.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    if len(rows) != 2:
        raise ValueError(f"{path.name} has {len(rows)} lines, not 2")
    return {name: _number(text) for name, text in zip(*rows, strict=True)}


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
