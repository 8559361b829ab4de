"""A comparison as Markdown for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgetl.comparing import Comparison
from edgetl.reporting.compared import change, figure, intervals_note, remarks, summary
from edgetl.reporting.markup import clean

_ACTIVE = re.compile(r"[\\`*_{}\[\]<>|#!~&$]")
_EMPHASISED = ("regression", "undecided", "not comparable")


def comparison_markdown(comparison: Comparison) -> str:
    """A heading with the outcome, a table with a line a check, and what must be said besides."""
    lines = [f"### edgetl compare: {escape(summary(comparison))}", ""]
    lines += ["| engine | check | base | new | change | verdict |", "|---|---|--:|--:|--:|---|"]
    for engine in comparison.engines:
        for check in engine.checks:
            verdict = f"**{check.verdict}**" if check.verdict in _EMPHASISED else check.verdict
            told = map(escape, (figure(check.base, check), figure(check.new, check), change(check)))
            lines.append(_row([escape(engine.name), escape(check.name), *told, verdict]))
    note = intervals_note(comparison)
    lines += ["", *([f"{escape(note[0].upper() + note[1:])}.", ""] if note else [])]
    return "\n".join([*lines, *(f"- {escape(remark)}" for remark in remarks(comparison))]).rstrip() + "\n"


def escape(text: object) -> str:
    """``text`` on one line, with all that Markdown or HTML would take for its own made inert."""
    return _ACTIVE.sub(lambda found: "\\" + found[0], clean(text))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
