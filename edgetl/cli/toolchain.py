"""edgetl toolchain ls|install|remove."""

from __future__ import annotations

import sys

import click

from edgetl.cli.common import json_option, make_context, print_json


@click.group()
def command() -> None:
    """Install toolchains that need an environment of their own."""


@command.command("ls")
@json_option
def list_toolchains(as_json: bool) -> None:
    """The toolchains there are, and which are installed."""
    from edgetl.toolchains import installed, size_bytes, toolchain, toolchain_names

    rows = []
    for name in toolchain_names():
        each, python = toolchain(name), installed(name)
        rows.append(
            {
                "name": name,
                "title": each.title,
                "version": each.version,
                "python": str(python) if python else None,
                "disk_mb": round(size_bytes(name) / 1e6) if python else None,
                "needs_mb": each.disk_mb,
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        state = f"{row['disk_mb']} MB, {row['python']}" if row["python"] else "not installed"
        click.echo(f"{row['name']:10} {row['title']} {row['version']}: {state}")


@command.command("install")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
def install_toolchain(name: str, yes: bool) -> None:
    """Make the environment of toolchain NAME.

    A run that was killed goes on from what it had downloaded.
    """
    from edgetl.toolchains import install, installed, toolchain
    from edgetl.toolchains.place import folder

    chosen = toolchain(name)
    if python := installed(name):
        click.echo(f"{chosen.title} {chosen.version} is installed: {python}")
        return
    click.echo(
        f"{chosen.title} {chosen.version}: {chosen.disk_mb} MB of disk in {folder(name)}, "
        f"{chosen.download_mb} MB to download, {chosen.seconds} s where it was measured",
        err=True,
    )
    if not yes and sys.stdin.isatty():
        click.confirm("Go on?", default=True, abort=True, err=True)
    click.echo(install(name, make_context().observer))


@command.command("remove")
@click.argument("name")
def remove_toolchain(name: str) -> None:
    """Remove the environment of toolchain NAME."""
    from edgetl.toolchains import remove

    click.echo(f"removed {name}" if remove(name) else f"{name} is not installed")
