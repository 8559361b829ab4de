"""edgetl compare BASE NEW."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.cli.common import json_option, print_json, require_file, result_console
from edgetl.errors import InputError

if TYPE_CHECKING:
    from edgetl.comparing import Comparison


def baseline_options(command: Any) -> Any:
    """Options of a command that yields results which are to be compared with earlier ones."""
    options = (
        click.option(
            "--baseline",
            type=click.Path(path_type=Path),
            metavar="BASE.json",
            help="Compare with these results, and exit with 1 if anything became worse.",
        ),
        _junit,
        _markdown,
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Baseline:
    """Earlier results that new ones are compared with, read before anything is measured or written."""

    path: Path
    results: Mapping[str, Any]
    junit: Path | None
    markdown: Path | None

    @classmethod
    def read(cls, path: Path | None, junit: Path | None, markdown: Path | None) -> Baseline | None:
        """None where none is named.

        Raises:
            InputError: if it can't be read, or files are to be written of no comparison, or over a folder.
        """
        require_files(junit, markdown)
        if path is None:
            if junit or markdown:
                raise InputError(
                    "--junit and --markdown write a comparison; name earlier results: --baseline"
                )
            return None
        from edgetl.results import read_results

        return cls(path, read_results(path), junit, markdown)

    def of(self, results: Mapping[str, Any]) -> Baseline:
        """What these results of one bundle are to be compared with, an engine each.

        Nobody asked for other targets. An engine that was measured in one place is compared with itself in
        another, as far as that can be.
        """
        engines = [self._counterpart(engine) for engine in results["engines"]]
        return replace(self, results={**self.results, "engines": engines})

    def _counterpart(self, engine: Mapping[str, Any]) -> Mapping[str, Any]:
        earlier = [each for each in self.results["engines"] if each["target"] == engine["target"]]
        same = [each for each in earlier if _place(each) == _place(engine)]
        if same:
            return dict(same[0])
        if len(earlier) != 1:
            raise InputError(
                f"{self.path} has {len(earlier) or 'no'} results of {engine['target']}, none of them of "
                f"{_place(engine) or 'this machine'}; there is nothing to compare with"
            )
        there = earlier[0].get("device") or {"environment": self.results["environment"]}
        return {**earlier[0], "device": {**there, "name": _place(engine)}}

    def judge(self, results: Mapping[str, Any], *, quiet: bool) -> int:
        """1 if the new results are worse, else 0; ``quiet``: only the outcome, on standard error."""
        from edgetl.comparing import compare

        comparison = compare(self.results, results)
        write(comparison, self.junit, self.markdown)
        if quiet:
            conclude(comparison)
        else:
            show(comparison)
        return comparison.status

    def bundle(self, new: Path) -> Path | None:
        """The bundle of the same target that these results are of, where it is still what it was."""
        from edgetl.bundle.check import check_files
        from edgetl.bundle.manifest import read_manifest
        from edgetl.errors import EdgetlError
        from edgetl.findings import engine_digest

        target = read_manifest(new).target
        engines = [engine for engine in self.results["engines"] if engine["target"] == target]
        for engine in engines:
            for folder in (Path(), self.path if self.path.is_dir() else self.path.parent):
                former = folder / str(engine.get("bundle"))
                with contextlib.suppress(EdgetlError):
                    if engine_digest(check_files(former)) == engine.get("digest"):
                        return former
        return None


def _place(engine: Mapping[str, Any]) -> str | None:
    """The device's name; None for the machine of the document."""
    name: str | None = (engine.get("device") or {}).get("name")
    return name


def require_files(junit: Path | None, markdown: Path | None) -> None:
    """Nothing is measured for files that can't be written."""
    for option, path in (("--junit", junit), ("--markdown", markdown)):
        require_file(path, option)


_junit = click.option(
    "--junit", type=click.Path(path_type=Path), metavar="FILE.xml", help="Write JUnit XML there."
)
_markdown = click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    metavar="FILE.md",
    help="Write Markdown for a pull request.",
)


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
@_junit
@_markdown
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

    require_files(junit, markdown)
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


def conclude(comparison: Comparison) -> None:
    """What got worse or can't be told, and the outcome, on standard error."""
    from edgetl.reporting.compared import remarks, summary

    for line in (*remarks(comparison), summary(comparison)):
        click.echo(f"baseline: {line}", err=True)


def show(comparison: Comparison) -> None:
    """Print the table, what must be said besides, and the outcome."""
    from edgetl.reporting.compared import comparison_table, remarks, summary

    result_console().print(comparison_table(comparison))
    for remark in remarks(comparison):
        click.echo(f"note: {remark}")
    click.echo(summary(comparison))
