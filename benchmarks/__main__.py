"""``python -m benchmarks [AREA] [--quick] [--images DIR] [--json FILE]``."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from benchmarks.data import VARIABLE, given_images
from benchmarks.goal import Goal, summary
from benchmarks.settings import Settings
from edgetl.cli.common import quiet_libraries
from edgetl.device.environment import environment
from edgetl.errors import EdgetlError
from edgetl.files import write_atomic

AREAS = ("startup", "latency", "features", "int8", "memory", "train", "tensorrt", "npu", "device")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("area", type=click.Choice(["all", *AREAS]), default="all")
@click.option("--quick", is_flag=True, help="Short runs, to try the benchmarks themselves.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Folder of class folders to measure on (or ${VARIABLE}).",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write results.")
def main(area: str, quick: bool, images: Path | None, json_file: Path | None) -> None:
    """Measure edgetl against what users would do otherwise; one line a goal.

    Exits with 1 if a goal was missed or an area failed, 2 on bad usage.
    """
    try:
        given = given_images(images)
    except EdgetlError as error:
        click.echo(f"benchmarks: {error}", err=True)
        sys.exit(error.exit_code)
    quiet_libraries()
    facts = environment()
    click.echo(machine_line(facts))
    goals: list[Goal] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="edgetl-benchmarks-") as work:
        settings = Settings(given, quick, Path(work), lambda text: click.echo(f"  {text} ...", err=True))
        for name in AREAS if area == "all" else (area,):
            try:
                for goal in _measure(name, settings):
                    click.echo(goal.line())
                    goals.append(goal)
            except EdgetlError as error:
                failures[name] = str(error)
                click.echo(f"{name:8} FAILED       {error}")
    click.echo(", ".join(filter(None, [summary(goals), *(f"{name} FAILED" for name in failures)])))
    if json_file:
        write_atomic(json_file, to_json(goals, failures, facts, quick))
    sys.exit(exit_status(goals, failures))


def _measure(name: str, settings: Settings) -> Iterator[Goal]:
    """An area's goals; its module, and what that imports, is loaded only now."""
    measured: Iterator[Goal] = import_module(f"benchmarks.{name}").goals(settings)
    return measured


def machine_line(facts: dict[str, Any]) -> str:
    """What all of a run's figures were measured on."""
    cpu = facts["cpu"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    load = facts["load"][0] if facts["load"] else "unknown"
    line = f"machine: {cpu['model']}, {cpu['usable']} usable cores, load {load}; {facts['os']}; {versions}"
    return "\n".join([line, *(f"warning: {warning}" for warning in facts["warnings"])])


def to_json(goals: list[Goal], failures: dict[str, str], facts: dict[str, Any], quick: bool) -> str:
    document = {
        "schema": "edgetl.benchmarks/1",
        "quick": quick,
        "environment": facts,
        "goals": [goal.to_dict() for goal in goals],
        "failures": failures,
    }
    return json.dumps(document, indent=1) + "\n"


def exit_status(goals: list[Goal], failures: dict[str, str]) -> int:
    return 1 if failures or any(goal.met is False for goal in goals) else 0


if __name__ == "__main__":
    main()
