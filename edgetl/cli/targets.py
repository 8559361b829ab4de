"""edgetl targets [show NAME]."""

from __future__ import annotations

import click

from edgetl.cli.common import json_option, print_json


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the device profiles; 'show NAME' prints one."""
    if ctx.invoked_subcommand:
        return
    from edgetl import profiles
    from edgetl.device.environment import environment
    from edgetl.engines import standing

    facts = environment()
    rows = []
    for name in profiles.target_names():
        target = profiles.target(name)
        here = standing(target, facts)
        rows.append(
            {
                "name": name,
                "title": target.title,
                "backend": target.backend,
                "here": here.kind,
                "why": here.reason,
            }
        )
    if as_json:
        print_json(rows)
        return
    widths = [max(len(str(row[key])) for row in rows) + 2 for key in ("name", "backend", "here")]
    for row in rows:
        columns = zip((row["name"], row["backend"], row["here"]), widths, strict=True)
        click.echo("".join(f"{text:{width}}" for text, width in columns) + str(row["title"]))
    if any(row["why"] for row in rows):
        click.echo("\nsimulated: accuracy only, no latency here; why: edgetl doctor --target NAME")


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Print one profile as JSON."""
    from edgetl import profiles

    print_json(profiles.target(name).model_dump(mode="json"))
