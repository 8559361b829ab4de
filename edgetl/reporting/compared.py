"""A comparison as words and as a table for the terminal; Markdown and JUnit XML use the same words."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from edgetl.comparing import Check, Comparison, Verdict
from edgetl.quantity import Quantity
from edgetl.reporting.markup import clean
from edgetl.reporting.text import (
    MEGABYTES,
    MILLISECONDS,
    PERCENT,
    POINTS,
    RATE,
    TIMES,
    Unit,
    counted,
    interval,
    listed,
    signed,
    significant,
)

_UNITS = {"ms": MILLISECONDS, "per_s": RATE, "share": PERCENT, "bytes": MEGABYTES}
_RATIO = Unit(1, lambda x: significant(x, 4), TIMES.suffix)
_STYLES: dict[Verdict, str] = {
    "regression": "bold red",
    "improvement": "green",
    "undecided": "yellow",
    "not comparable": "yellow",
    "no change": "dim",
}


def figure(value: Quantity | str | None, check: Check) -> str:
    """``"2.45 ms"``; what it is where it was not measured."""
    if isinstance(value, str):
        return clean(value)
    if value is None:
        return "–"
    return _UNITS[check.unit].full(value.value) + ("" if value.kind == "measured" else f" ({value.kind})")


def change(check: Check) -> str:
    """``"1.051× (1.033–1.070)"`` or ``"−0.24 points (−1.2 to 0.7)"``; empty without one."""
    if check.change is None:
        return ""
    unit = POINTS if check.unit == "share" else _RATIO
    written = (
        signed(check.change.value, unit) + unit.suffix if unit is POINTS else unit.full(check.change.value)
    )
    between = interval(check.change, unit)
    return f"{written} ({between})" if between else written


def remarks(comparison: Comparison) -> list[str]:
    """A sentence for all that is neither no change nor an improvement, and the comparison's notes."""
    told: dict[tuple[str, Verdict, str], list[str]] = {}
    for engine in comparison.engines:
        for check in engine.checks:
            if check.verdict not in ("no change", "improvement"):
                told.setdefault((engine.name, check.verdict, check.why), []).append(check.name)
    sentences = [f"{name}: {listed(names)}: {verdict}: {why}" for (name, verdict, why), names in told.items()]
    return [clean(line) for line in (*sentences, *comparison.notes)]


def summary(comparison: Comparison) -> str:
    """``"1 regression, 3 undecided and 12 unchanged: failed"``."""
    names = {"regression": ("regression", "regressions"), "improvement": ("improvement", "improvements")}
    names |= {"no change": ("unchanged", "unchanged")}
    counts = comparison.counts.items()
    parts = [counted(count, *names.get(verdict, (verdict, verdict))) for verdict, count in counts if count]
    outcome = "failed" if comparison.status else "passed"
    return f"{listed(parts) if parts else 'nothing to compare'}: {outcome}"


def intervals_note(comparison: Comparison) -> str:
    """What the intervals mean; empty if there are none."""
    if not comparison.intervals:
        return ""
    together = f"all {comparison.intervals} together" if comparison.intervals > 1 else "this one"
    return (
        f"change: NEW over BASE, of shares NEW less BASE; in brackets 95 % intervals that hold for {together}"
    )


def comparison_table(comparison: Comparison) -> Table:
    """One line a check; the caption says what the intervals are."""
    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption=intervals_note(comparison),
        caption_justify="left",
        caption_style="",
    )
    table.add_column("engine", overflow="fold", max_width=22)
    table.add_column("check", no_wrap=True)
    for name in ("base", "new", "change"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for engine in comparison.engines:
        for i, check in enumerate(engine.checks):
            table.add_row(
                Text("" if i else clean(engine.name)),
                Text(check.name),
                Text(figure(check.base, check)),
                Text(figure(check.new, check)),
                Text(change(check)),
                Text(check.verdict, _STYLES[check.verdict]),
                end_section=i + 1 == len(engine.checks),
            )
    return table
