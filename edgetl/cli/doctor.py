"""edgetl doctor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edgetl.cli.common import json_option, print_json


@click.command()
@click.option("-t", "--target", metavar="T", help="Ask about one target only, in detail.")
@json_option
def command(target: str | None, as_json: bool) -> int:
    """Say what is installed, what is missing and how to get it, and what this machine can do.

    Exits with 0 if a target asked about can be built here, or made ready for its device to build.
    """
    from edgetl.doctor import examine, served

    facts = examine(target)
    if as_json:
        print_json(facts)
    else:
        _print(facts, detailed=target is not None)
    return 0 if served(facts) else 1


def _print(facts: Mapping[str, Any], *, detailed: bool) -> None:
    machine = facts["environment"]
    cpu = machine["cpu"]
    click.echo(f"machine    {cpu['model']}, {cpu['usable']} cores, {' '.join(cpu['isa'])}")
    click.echo(f"python     {machine['python']}, cache {facts['cache']}")
    for purpose, extra in (("training", "train"), ("quantizing", "quantize"), ("report", "report")):
        missing = [
            name for name, version in facts[purpose].items() if version is None and not name.endswith("-gpu")
        ]
        state = f"missing {', '.join(missing)}: pip install 'edgetl[{extra}]'" if missing else "ready"
        click.echo(f"{purpose:11}{state}")
    for row in facts["backends"]:
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        state = "; ".join(filter(None, [versions, ", ".join(row["devices"])]))
        click.echo(f"backend    {row['name']}: {state if row['available'] else row['reason']}")
    for row in facts["targets"]:
        click.echo(f"target     {row['name']}: {_state(row)}")
        for finding in row["findings"] if detailed else ():
            click.echo(f"  {finding['topic']:9}{finding['text']}")
    for warning in machine["warnings"]:
        click.echo(f"warning    {warning}")


def _state(row: Mapping[str, Any]) -> str:
    if row["planned"]:
        return f"planned here and built on its device, accuracy simulated: {row['why']}"
    if not row["buildable"]:
        return "its backend is not installed"
    if row["latency"]:
        return "built and measured here"
    return f"built here, accuracy simulated, latency not measured: {row['why']}"
