"""edgetl build FILE.onnx --target T -o BUNDLE, and edgetl build BUNDLE on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgetl.cli.common import json_option, make_context, print_json
from edgetl.cli.declare import contract_options, declared_contract
from edgetl.cli.text import interval
from edgetl.errors import EdgetlError, InputError


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE.onnx|BUNDLE")
@click.option("-t", "--target", "targets", multiple=True, metavar="T", help="May be repeated.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="With several targets, the folder of their bundles.",
)
@click.option(
    "--precision",
    type=click.Choice(["f32", "f16", "bf16", "int8"]),
    help="f32, f16, bf16 build a float engine on purpose.",
)
@click.option("--on", metavar="DEVICE", help="Build a BUNDLE's engine there, by name or ssh://user@host.")
@contract_options
@json_option
def command(
    source: Path,
    targets: tuple[str, ...],
    out: Path | None,
    precision: str | None,
    on: str | None,
    as_json: bool,
    **declaration: Any,
) -> int:
    """Build the engine of a float or QDQ ONNX and write it as a bundle.

    Given a BUNDLE instead, build its engine on its device from the portable model in it, and measure it.
    """
    if source.is_dir():
        _rebuild(source, targets, precision, out, on, as_json)
        return 0
    if on:
        raise InputError("--on builds a bundle's engine; make the bundle of an ONNX file first")
    if not targets or out is None:
        raise InputError("say for which device and where to: edgetl build FILE.onnx --target T -o BUNDLE")
    return _build(source, targets, out, precision, as_json, declaration)


def _build(
    onnx: Path,
    targets: tuple[str, ...],
    out: Path,
    precision: str | None,
    as_json: bool,
    declaration: dict[str, Any],
) -> int:
    from edgetl import api, profiles

    contract, context = declared_contract(declaration), make_context()
    names = [target.name for target in profiles.targets_of(targets)]
    made, failures = [], []
    for name in names:
        place = out / name if len(names) > 1 else out
        try:
            facts = api.build(onnx, name, place, precision=precision, contract=contract, context=context)
        except EdgetlError as error:
            if len(names) == 1:
                raise
            failures.append({"target": name, "error": str(error)})
            continue
        made.append(facts)
        if not as_json:
            _print(facts)
    if as_json:
        print_json(made[0] if len(names) == 1 else {"bundles": made, "failed": failures})
    for failure in failures:
        click.echo(f"not made: {failure['target']}: {failure['error']}", err=True)
    return 1 if failures else 0


def _print(facts: dict[str, Any]) -> None:
    bundle = facts["bundle"]
    if facts["state"] == "plan":
        click.echo(f"{bundle}: a build plan for {facts['target']}; on the device: edgetl build BUNDLE")
    else:
        executed = ", ".join(f"{count} {name}" for name, count in facts["precision"]["executed"].items())
        what = f"layers: {executed}" if executed else "its device's own compiler has yet to take it"
        click.echo(f"{bundle}: {facts['backend']}, {facts['size_bytes'] / 1e6:.1f} MB, {what}")
    layers = facts["layers"] or {}
    for line in (*layers.get("checks", ()), *layers.get("findings", ())):
        click.echo(f"  {line}")
    if layers.get("build_command"):
        click.echo(f"same as: {layers['build_command']}")
    if facts["standing"]:
        click.echo(f"note: {facts['standing']}")
        if facts["state"] != "plan" and facts["computer"]:
            click.echo(f"measure it on the target with: edgetl bench {bundle}")


def _rebuild(
    bundle: Path,
    targets: tuple[str, ...],
    precision: str | None,
    out: Path | None,
    on: str | None,
    as_json: bool,
) -> None:
    from edgetl import api
    from edgetl.bundle.manifest import NAME

    if not (bundle / NAME).exists():
        raise InputError(f"{bundle} is a folder, but no bundle; give an ONNX file or a bundle")
    if targets or precision:
        raise InputError(f"{bundle} is a bundle and has its target; leave --target and --precision out")
    facts = api.rebuild(bundle, out, on=on, context=make_context())
    if as_json:
        print_json(facts)
        return
    golden = facts["golden_difference"]
    executed = ", ".join(f"{count} {name}" for name, count in facts["precision_detail"]["executed"].items())
    click.echo(f"{out or bundle}: {facts['size_bytes'] / 1e6:.1f} MB, layers: {executed}")
    click.echo(
        f"golden images: {golden['same_top1']} of {golden['n']} get the class they got on the host, "
        f"largest difference {golden['max_abs']:.3g} (allowed {golden['allowed']:.3g})"
    )
    if facts["latency_ms"] is None:
        click.echo(f"note: {facts['standing']}")
    for name in ("p50", "p90", "p99") if facts["latency_ms"] else ():
        value = facts["latency_ms"][name]
        click.echo(f"{name} latency  {interval(value, unit=' ms') if value else 'not enough samples'}")
    click.echo(f"accuracy was not measured: edgetl bench {out or bundle} --images DIR")
