"""edgetl train IMAGES -o MODEL."""

from __future__ import annotations

from pathlib import Path

import click

from edgetl.cli.common import json_option, make_context, print_json
from edgetl.cli.text import interval, skipped_line


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="MODEL",
    help="Model folder to write.",
)
@click.option("-b", "--backbone", metavar="B", help="timm model name [tf_efficientnet_lite0].")
@click.option("--weights", metavar="FILE|hub", help="Backbone weights; 'hub' lets timm download its own.")
@click.option("--val-fraction", type=float, default=0.2, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def command(
    images: Path,
    out: Path,
    backbone: str | None,
    weights: str | None,
    val_fraction: float,
    seed: int,
    as_json: bool,
) -> None:
    """Fit a new head on a frozen backbone, to the images of IMAGES."""
    from edgetl import api

    facts = api.train(
        images,
        out,
        backbone=backbone,
        weights=weights,
        val_fraction=val_fraction,
        seed=seed,
        context=make_context(),
    )
    if as_json:
        print_json(facts)
        return
    accuracy = facts["metrics"]["accuracy"] if facts["metrics"] else None
    click.echo(f"{out}: {facts['backbone']}, held-out accuracy {interval(accuracy, percent=True)}")
    click.echo(skipped_line(facts["skipped"]), nl=bool(facts["skipped"]))
