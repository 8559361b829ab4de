"""edgetl predict BUNDLE IMAGE..."""

from __future__ import annotations

from pathlib import Path

import click

from edgetl.cli.common import json_option, print_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def command(bundle: Path, images: tuple[Path, ...], as_json: bool) -> int:
    """Classify IMAGES with a bundle; needs no torch. Exit status 2 if one can't be read."""
    from edgetl.bundle.runtime import load
    from edgetl.contract import UnreadableImageError

    model = load(bundle)
    found = []
    status = 0
    for image in images:
        try:
            answer = model.predict(image)
        except UnreadableImageError as error:
            status = 2
            found.append({"path": str(image), "error": str(error)})
            if not as_json:
                click.echo(f"{image}: {error}", err=True)
            continue
        found.append({"path": str(image), **answer.to_dict()})
        if not as_json:
            click.echo(f"{image}\t{answer.label}\t{answer.probability:.4f}")
    if as_json:
        print_json(found)
    return status
