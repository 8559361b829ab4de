"""edgetl cache ls|gc."""

from __future__ import annotations

import click

from edgetl.cli.common import json_option, print_json


@click.group()
def command() -> None:
    """List or shrink the store of intermediate results."""


@command.command("ls")
@json_option
def list_entries(as_json: bool) -> None:
    """Entries and bytes by kind."""
    from edgetl.store import Store

    store = Store()
    usage = store.usage()
    if as_json:
        print_json(
            {
                "root": str(store.root),
                "kinds": {kind: {"entries": n, "bytes": size} for kind, (n, size) in usage.items()},
            }
        )
        return
    click.echo(str(store.root))
    for kind, (count, size) in usage.items():
        click.echo(f"{kind:12} {count:7} entries {size / 1e6:10.1f} MB")


@command.command("gc")
@click.option(
    "--keep", type=click.FloatRange(min=0), default=0.0, metavar="GB", help="Keep at most this much [0]."
)
@json_option
def collect(keep: float, as_json: bool) -> None:
    """Remove the least recently used entries."""
    from edgetl.store import Store

    removed, freed = Store().collect(int(keep * 1e9))
    if as_json:
        print_json({"removed": removed, "bytes": freed})
        return
    click.echo(f"removed {removed} entries, {freed / 1e6:.1f} MB")
