"""edgetl quantize FILE.onnx --images DIR --target T -o OUT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgetl.cli.common import json_option, make_context, print_json
from edgetl.cli.declare import contract_options, declared_contract
from edgetl.cli.text import interval, skipped_line


@click.command()
@click.argument("onnx", type=click.Path(path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Calibration images."
)
@click.option("-t", "--target", required=True, metavar="T")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="OUT.onnx")
@click.option("--recipe", metavar="R", help="Calibration recipe [the target's].")
@click.option("--refit-head/--no-refit-head", default=True, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@contract_options
@json_option
def command(
    onnx: Path,
    images: Path,
    target: str,
    out: Path,
    recipe: str | None,
    refit_head: bool,
    seed: int,
    as_json: bool,
    **declaration: Any,
) -> None:
    """Quantize an ONNX to INT8 (QDQ) with calibration images."""
    from edgetl import api

    facts = api.quantize(
        onnx,
        images,
        target,
        out,
        recipe=recipe,
        contract=declared_contract(declaration),
        refit_head=refit_head,
        seed=seed,
        context=make_context(),
    )
    if as_json:
        print_json(facts)
        return
    refit = facts["refit"]
    head = (
        f"head refitted, held-out accuracy {interval(refit['after'], percent=True)}"
        if refit
        else "head not refitted"
    )
    click.echo(f"{out}: {facts['calibration_images']} calibration images, recipe {facts['recipe']}; {head}")
    click.echo(skipped_line(facts["skipped"]), nl=bool(facts["skipped"]))
