"""edgetl report RESULTS."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE.html", help="[report.html beside RESULTS]"
)
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="DIR", help="Image folder, for thumbnails."
)
def command(results: Path, out: Path | None, images: Path | None) -> None:
    """Write report.html from RESULTS (a results.json, or the folder it is in)."""
    from edgetl import api

    click.echo(api.report(results, out, images=images))
