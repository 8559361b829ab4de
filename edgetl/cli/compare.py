"""edgetl compare BASE NEW."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.common import json_option, print_json, result_console

if TYPE_CHECKING:
    from edgetl.comparing import Comparison


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--tolerance-latency",
    "tolerance",
    type=click.FloatRange(min=0, max=100, max_open=True),
    default=0.0,
    show_default=True,
    metavar="PCT",
    help="How much slower NEW may be, percent.",
)
@click.option(
    "--noise",
    type=click.FloatRange(min=0, max=100, max_open=True),
    metavar="PCT",
    help="Standard deviation of p50 between runs of an unchanged engine, percent [10].",
)
@click.option("--across-machines", is_flag=True, help="Compare times even if the machines differ.")
@click.option("--strict", is_flag=True, help="What is undecided or not comparable fails too.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE.xml", help="Write JUnit XML there.")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    metavar="FILE.md",
    help="Write Markdown for a pull request.",
)
@json_option
def command(
    base: Path,
    new: Path,
    tolerance: float,
    noise: float | None,
    across_machines: bool,
    strict: bool,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Has NEW (a results.json, or the folder it is in) become worse than BASE, beyond the intervals?

    Exits with 1 if anything has.
    """
    from edgetl.comparing import Settings, compare
    from edgetl.results import read_results

    settings = Settings(tolerance=tolerance / 100, across_machines=across_machines, strict=strict)
    if noise is not None:
        settings = replace(settings, noise=noise / 100)
    comparison = compare(read_results(base), read_results(new), settings)
    write(comparison, junit, markdown)
    if as_json:
        print_json(comparison.to_dict())
    else:
        show(comparison)
    return comparison.status


def write(comparison: Comparison, junit: Path | None, markdown: Path | None) -> None:
    """Write the files that were asked for."""
    from edgetl.files import write_atomic
    from edgetl.reporting.junit import comparison_junit
    from edgetl.reporting.markdown import comparison_markdown

    if junit:
        write_atomic(junit, comparison_junit(comparison))
    if markdown:
        write_atomic(markdown, comparison_markdown(comparison))


def show(comparison: Comparison) -> None:
    """Print the table, what must be said besides, and the outcome."""
    from edgetl.reporting.compared import comparison_table, remarks, summary

    result_console().print(comparison_table(comparison))
    for remark in remarks(comparison):
        click.echo(f"note: {remark}")
    click.echo(summary(comparison))
