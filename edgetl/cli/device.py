"""edgetl device add|ls|probe|remove|clean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edgetl.cli.common import json_option, make_context, print_json
from edgetl.cli.text import interval

if TYPE_CHECKING:
    from edgetl.remote.devices import Device


@click.group()
def command() -> None:
    """Devices reached over SSH, for bench --on and run --on."""


@command.command("add")
@click.argument("name")
@click.argument("address", metavar="ssh://USER@HOST[:PORT]")
@click.option("--python", default="python3", show_default=True, help="The device's Python, 3.10 or later.")
@json_option
def add(name: str, address: str, python: str, as_json: bool) -> None:
    """Name a device, after connecting to it and looking what it is."""
    from edgetl.remote.bundles import facts_of
    from edgetl.remote.devices import Device, add_device, route_to
    from edgetl.remote.session import MissingThereError

    context = make_context()
    found = Device(name, route_to(address, python))
    try:
        with context.observer.stage(f"look at {name}"):
            facts = facts_of(found, context.observer)
    except MissingThereError as error:  # the device is there all the same
        add_device(found)
        click.echo(f"{found.name}  {found.route.address}")
        click.echo(f"note: {error}", err=True)
        return
    add_device(found)
    _show(found, facts, as_json)


@command.command("ls")
@click.option("--check", is_flag=True, help="Connect to each and look what it is.")
@json_option
def list_devices(check: bool, as_json: bool) -> int:
    """The devices that have a name."""
    from edgetl.errors import EdgetlError
    from edgetl.remote.bundles import facts_of
    from edgetl.remote.devices import devices

    context = make_context()
    rows: list[dict[str, Any]] = []
    for each in devices().values():
        row: dict[str, Any] = {
            "name": each.name,
            "address": str(each.route.address),
            "python": each.route.python,
        }
        if check:
            try:
                row |= _summary(facts_of(each, context.observer))
            except EdgetlError as error:
                row["error"] = str(error)
        rows.append(row)
    if as_json:
        print_json(rows)
    for row in () if as_json else rows:
        click.echo("  ".join([row["name"], row["address"], *_lines(row)]))
    if not rows and not as_json:
        click.echo("no device has a name yet; add one with: edgetl device add NAME ssh://user@host", err=True)
    return 1 if any("error" in row for row in rows) else 0


@command.command("probe")
@click.argument("name", metavar="[DEVICE]", required=False)
@click.option("-t", "--target", "targets", multiple=True, metavar="T", help="Probe through its engine.")
@json_option
def probe(name: str | None, targets: tuple[str, ...], as_json: bool) -> None:
    """Measure what a device, or this machine, can do at most: operations a second, bytes a second.

    Rooflines of engines on it are drawn against that from then on.
    """
    from edgetl import profiles
    from edgetl.backends.base import PORTABLE
    from edgetl.engines import best_target, engine_spec
    from edgetl.peaks import probe
    from edgetl.remote.bundles import facts_of
    from edgetl.remote.devices import device

    context = make_context()
    there = device(name) if name else None
    machine = facts_of(there, context.observer)["environment"] if there else context.environment
    found = []
    for target in map(profiles.target, targets or (best_target(machine),)):
        probed, fingerprint = probe(context, engine_spec(target, PORTABLE), there)
        found.append({"target": target.name, "machine": fingerprint, **probed.to_dict()})
    if as_json:
        print_json(found)
        return
    for facts in found:
        click.echo(f"{name or 'this machine'} through the engine of {facts['target']}")
        click.echo(f"  INT8       {interval(facts['tops'], unit=' TOPS')}")
        click.echo(f"  float      {interval(facts['float_tops'], unit=' TOPS')}")
        click.echo(f"  memory     {interval(facts['bandwidth_gbps'], unit=' GB/s')}")
        for cache in facts["caches"]:
            size = f"{cache['bytes'] / 2**20:g} MiB"
            click.echo(f"  {size:10} {interval(cache['bandwidth_gbps'], unit=' GB/s')}")


@command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget a device; what is on it stays (see clean)."""
    from edgetl.remote.devices import remove_device

    remove_device(name)


@command.command("clean")
@click.argument("name", metavar="DEVICE")
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Keep what was used in the last days.",
)
def clean(name: str, days: float) -> None:
    """Remove what edgetl left on a device; a job that runs is left alone."""
    from edgetl.remote.devices import device
    from edgetl.remote.session import Remote

    context = make_context()
    with Remote(device(name), context.observer) as remote:
        answer = remote.ask("clean", days=days)
        folder = remote.hello["folder"]
    megabytes = int(answer["freed_bytes"]) / 1e6
    click.echo(f"{name}: removed {answer['removed']} items from {folder}, {megabytes:.1f} MB are free again")
    if answer["running"]:
        click.echo(f"note: {answer['running']} job(s) run there; what they use was left", err=True)


def _show(found: Device, facts: dict[str, Any], as_json: bool) -> None:
    summary = {"name": found.name, "address": str(found.route.address), **_summary(facts)}
    if as_json:
        print_json(summary)
        return
    click.echo(f"{found.name}  {found.route.address}")
    for line in _lines(summary):
        click.echo(f"  {line}")
    if not summary["engines"]:
        click.echo(f"note: no engine's runtime is installed for {found.route.python} there", err=True)
    sys.stdout.flush()


def _summary(facts: dict[str, Any]) -> dict[str, Any]:
    machine = facts["environment"]
    engines = {
        f"{name} {next(iter(each['versions'].values()), '')}".strip(): each["devices"]
        for name, each in facts["backends"].items()
        if each["ok"]
    }
    return {
        "cpu": machine["cpu"]["model"],
        "machine": machine["machine"],
        "board": machine["board"],
        "gpus": [gpu["name"] for gpu in machine["gpus"]],
        "os": machine["os"],
        "python_version": facts["python"],
        "emulated": machine["emulated"],
        "engines": engines,
        "warnings": machine["warnings"],
    }


def _lines(row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["error"]]
    if "machine" not in row:
        return [row["python"]]
    what = ", ".join(filter(None, [row["board"], row["cpu"], *row["gpus"], row["machine"], row["os"]]))
    engines = "; ".join(f"{name} ({', '.join(on)})" if on else name for name, on in row["engines"].items())
    return [what, f"Python {row['python_version']}: {engines or 'no engine'}", *row["warnings"]]
