"""edgetl export MODEL -o FILE.onnx."""

from __future__ import annotations

from pathlib import Path

import click

from edgetl.cli.common import json_option, make_context, print_json
from edgetl.cli.text import interval


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="FILE.onnx")
@click.option("--batch", type=click.IntRange(1, 1024), help="Fixed batch size [dynamic].")
@json_option
def command(model: Path, out: Path, batch: int | None, as_json: bool) -> None:
    """Write a trained MODEL folder as ONNX, proved equal to torch on real images."""
    from edgetl import api

    facts = api.export(model, out, batch=batch, context=make_context())
    if as_json:
        print_json(facts)
        return
    parity = facts["parity"]
    click.echo(
        f"{out}: opset {facts['opset']}, {facts['nodes']} nodes; against torch: max {parity['max_abs']:.2g}, "
        f"mean {parity['mean_abs']:.2g}, top-1 agreement {interval(parity['top1_agreement'], percent=True)}"
    )
