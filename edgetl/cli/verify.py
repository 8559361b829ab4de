"""edgetl verify BUNDLE."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edgetl.cli.common import json_option, print_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def command(bundle: Path, as_json: bool) -> None:
    """Recompute a bundle's digests and replay its golden input."""
    from edgetl.bundle.verify import verify

    replay = verify(bundle)
    if as_json:
        print_json(asdict(replay))
        return
    machine = "the kind of machine it was made on" if replay.same_device else "another kind of machine"
    if replay.simulated:
        click.echo(f"note: simulated, {replay.replayed} was replayed: {replay.simulated}")
    click.echo(
        f"{bundle}: all digests match; {replay.n} golden images replayed on {machine}: "
        f"largest difference {replay.max_abs:.3g} (allowed {replay.allowed:.3g})"
    )
