"""edgetl doctor."""

from __future__ import annotations

from typing import Any

import click

from edgetl.cli.common import json_option, print_json


@click.command()
@click.option("-t", "--target", metavar="T", help="Ask about one target only.")
@json_option
def command(target: str | None, as_json: bool) -> int:
    """Say what is installed, what is missing and how to get it, and what this machine can do."""
    facts = examine(target)
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    return 0 if any(row["available"] for row in facts["backends"]) else 1


def examine(name: str | None) -> dict[str, Any]:
    """The doctor's findings; nothing is installed or changed."""
    from edgetl import profiles
    from edgetl.backends import backend_names, get_backend
    from edgetl.device.environment import environment
    from edgetl.engines import standing
    from edgetl.store import default_root
    from edgetl.versions import versions

    facts = environment()
    chosen = [profiles.target(item) for item in ([name] if name else profiles.target_names())]
    backends = []
    for item in backend_names():
        if name and item not in {target.backend for target in chosen}:
            continue
        found = get_backend(item).available()
        row = {"name": item, "available": found.ok, "versions": dict(found.versions)}
        backends.append({**row, "devices": list(found.devices), "reason": found.reason})
    able = {row["name"] for row in backends if row["available"]}
    targets = []
    for target in chosen:
        here = standing(target, facts)
        can = target.backend in able
        targets.append(
            {
                "name": target.name,
                "buildable": can,
                "accuracy": here.kind,
                "latency": here.latency,
                "why": here.reason,
            }
        )
    return {
        "environment": facts,
        "training": versions(
            "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxslim", "scikit-learn"
        ),
        "quantizing": versions("nncf", "onnxruntime", "onnxruntime-gpu"),
        "report": versions("plotly"),
        "backends": backends,
        "targets": targets,
        "cache": str(default_root()),
    }


def _print(facts: dict[str, Any]) -> None:
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
        state = f"{versions}; {', '.join(row['devices'])}" if row["available"] else row["reason"]
        click.echo(f"backend    {row['name']}: {state}")
    for row in facts["targets"]:
        if not row["buildable"]:
            state = "its backend is not installed"
        elif row["latency"]:
            state = "built and measured here"
        else:
            state = f"built here, accuracy simulated, latency not measured: {row['why']}"
        click.echo(f"target     {row['name']}: {state}")
    for warning in machine["warnings"]:
        click.echo(f"warning    {warning}")
