"""Short texts that several commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = 10


def interval(quantity: Mapping[str, Any] | None, *, percent: bool = False, unit: str = "") -> str:
    """``94.4 % [91.8, 96.2] n=413``; says so where there is no number."""
    if quantity is None:
        return "not measured"
    scale, digits, unit = (100, 1, " %") if percent else (1, 3, unit)
    text = f"{quantity['value'] * scale:.{digits}f}{unit}"
    if quantity["low"] is not None and quantity["high"] is not None:
        text += f" [{quantity['low'] * scale:.{digits}f}, {quantity['high'] * scale:.{digits}f}]"
    kind = "" if quantity["kind"] == "measured" else f" {quantity['kind']}"
    return f"{text} n={quantity['n']}{kind}"


def skipped_line(skipped: Sequence[Mapping[str, str]]) -> str:
    """The first skipped files with their reasons, a line each; empty if there is none."""
    lines = [f"skipped {item['path']}: {item['reason']}" for item in skipped[:_SHOWN]]
    more = len(skipped) - len(lines)
    return "\n".join([*lines, f'skipped {more} more: see "skipped" in the results'] if more else lines)
