from __future__ import annotations

import io
import re
from dataclasses import replace

from rich.console import Console

from edgetl.comparing import Check, Compared, Comparison
from edgetl.quantity import Quantity
from edgetl.reporting.compared import comparison_table, remarks, summary
from edgetl.reporting.markdown import comparison_markdown, escape

SLOWER = Check(
    name="p50 latency",
    unit="ms",
    base=Quantity(2.0, 1.9, 2.1, 800),
    new=Quantity(2.1, 2.0, 2.2, 800),
    change=Quantity(1.0512, 1.033, 1.07, 80),
    verdict="regression",
    why="the whole interval is above 1",
)
LOST = Check(
    name="accuracy",
    unit="share",
    base=Quantity(0.953, 0.93, 0.97, 411, "simulated"),
    new=Quantity(0.951, 0.93, 0.97, 411, "simulated"),
    change=Quantity(-0.24, -1.2, 0.7, 411, "simulated"),
    verdict="undecided",
    why="the interval is too wide to tell",
)
SAME = Check("precision", "text", "int8", "int8", None, "no change", "int8 in both")


def comparison(*checks: Check, name: str = "x86-vnni", notes: tuple[str, ...] = ()) -> Comparison:
    return Comparison((Compared(name, checks),), 2, notes)


def rows(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_a_line_a_check_with_figures_interval_and_verdict() -> None:
    found = rows(comparison_markdown(comparison(SLOWER, LOST, SAME)))
    assert found[0] == ["engine", "check", "base", "new", "change", "verdict"]
    first = ["x86-vnni", "p50 latency", "2.00 ms", "2.10 ms", "1.051× (1.033–1.070)", "**regression**"]
    assert [cell.replace("\u00a0", " ") for cell in found[2]] == first
    assert "(simulated)" in found[3][2]
    assert found[3][4].replace("\u00a0", " ") == "−0.24 points (−1.20 to 0.70)"
    assert found[4][-1] == "no change"


def test_the_heading_says_how_it_ended_and_notes_say_why() -> None:
    text = comparison_markdown(comparison(SLOWER, LOST, notes=("rk3588 is only in NEW",)))
    assert text.startswith("### edgetl compare: 1 regression and 1 undecided: failed\n")
    assert "- x86-vnni: p50 latency: regression: the whole interval is above 1\n" in text
    assert text.endswith("- rk3588 is only in NEW\n")
    assert summary(comparison(SAME)).endswith("1 unchanged: passed")


def test_pipes_line_breaks_and_markup_stay_text() -> None:
    name = "a|b\n<img src=x> *bold* `code` [link](x)"
    found = rows(comparison_markdown(comparison(SLOWER, SAME, name=name)))
    assert {len(row) for row in found} == {6}
    assert found[2][0] == "a\\|b \\<img src=x\\> \\*bold\\* \\`code\\` \\[link\\](x)"


def test_a_backslash_before_a_pipe_does_not_free_the_pipe() -> None:
    assert escape("a\\|b") == "a\\\\\\|b"


def test_only_what_deserves_a_look_is_remarked() -> None:
    assert len(remarks(comparison(SLOWER, LOST, SAME))) == 2


def test_checks_with_the_same_reason_share_a_remark() -> None:
    slower = [replace(SLOWER, name=name) for name in ("p50 latency", "p90 latency", "throughput")]
    [remark] = remarks(comparison(*slower))
    assert remark.startswith("x86-vnni: p50 latency, p90 latency and throughput: regression: ")


def test_the_terminal_table_holds_the_same_words_and_no_markup() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(comparison_table(comparison(SLOWER, LOST, SAME, name="[red]x[/red]")))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    for words in ("[red]x[/red]", "p50 latency", "1.051×", "regression", "hold for all 2 together"):
        assert words in " ".join(text.split())
