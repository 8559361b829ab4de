"""edgetl build FILE.onnx --target T -o BUNDLE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgetl.cli.common import json_option, make_context, print_json
from edgetl.cli.declare import contract_options, declared_contract


@click.command()
@click.argument("onnx", type=click.Path(path_type=Path))
@click.option("-t", "--target", required=True, metavar="T")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="BUNDLE")
@click.option("--precision", type=click.Choice(["f32", "int8"]), help="f32 builds a float engine on purpose.")
@contract_options
@json_option
def command(
    onnx: Path, target: str, out: Path, precision: str | None, as_json: bool, **declaration: Any
) -> None:
    """Build the engine of a float or QDQ ONNX and write it as a bundle."""
    from edgetl import api

    contract = declared_contract(declaration)
    facts = api.build(onnx, target, out, precision=precision, contract=contract, context=make_context())
    if as_json:
        print_json(facts)
        return
    executed = ", ".join(f"{count} {name}" for name, count in facts["precision"]["executed"].items())
    click.echo(f"{out}: {facts['backend']}, {facts['size_bytes'] / 1e6:.1f} MB, layers: {executed}")
    if facts["standing"]:
        click.echo(f"note: {facts['standing']}; measure it on the target with: edgetl bench {out}")
