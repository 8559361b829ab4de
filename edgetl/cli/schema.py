"""edgetl schema."""

from __future__ import annotations

from importlib import resources

import click


@click.command()
def command() -> None:
    """Print the JSON schema of results.json."""
    click.echo(
        resources.files("edgetl").joinpath("schemas/results.schema.json").read_text(encoding="utf-8"),
        nl=False,
    )
