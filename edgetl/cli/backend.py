"""edgetl backend ls|test."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edgetl.cli.common import json_option, make_context, print_json

if TYPE_CHECKING:
    from edgetl.backends.base import Availability

_MARKS = {"passed": "✓", "failed": "✗", "error": "✗", "not applicable": "–"}


@click.group()
def command() -> None:
    """List the backends, or try one with the conformance kit."""


@command.command("ls")
@json_option
def list_backends(as_json: bool) -> None:
    """Backends, those of installed packages among them, and what each lacks here."""
    from edgetl import profiles
    from edgetl.backends import backend_names

    targets = [profiles.target(name) for name in profiles.target_names()]
    found = {name: _availability(name) for name in backend_names()}
    mine = {name: [target.name for target in targets if target.backend == name] for name in found}
    if as_json:
        print_json([{"name": name, **asdict(each), "targets": mine[name]} for name, each in found.items()])
        return
    for name, each in found.items():
        versions = ", ".join(f"{package} {version}" for package, version in each.versions.items())
        click.echo(f"{name:14}{len(mine[name]):3} targets  {each.reason or versions}")


def _availability(name: str) -> Availability:
    """Of one backend; a package that can't be imported does not hide the others."""
    from edgetl.backends import get_backend
    from edgetl.backends.base import Availability

    try:
        return get_backend(name).available()
    except Exception as error:
        return Availability(False, reason=f"{type(error).__name__}: {' '.join(str(error).split())}")


@command.command("test")
@click.argument("name")
@click.option(
    "-t", "--target", metavar="T", help="Try it as this target [the one this machine comes closest to]."
)
@json_option
def try_backend(name: str, target: str | None, as_json: bool) -> int:
    """Try backend NAME on a small network; exits with 0 if nothing failed.

    One line a check: ✓ passed, ✗ failed, – does not apply here.
    """
    from edgetl.conformance import choose_target, passed, run_checks

    chosen = choose_target(name, target)
    outcomes = run_checks(name, chosen.name, make_context().observer)
    ok = passed(outcomes)
    if as_json:
        rows = [asdict(outcome) for outcome in outcomes]
        print_json({"backend": name, "target": chosen.name, "passed": ok, "checks": rows})
        return 0 if ok else 1
    for outcome in outcomes:
        why = f" · {outcome.detail}" if outcome.detail else ""
        click.echo(f"{_MARKS[outcome.status]} {outcome.name}{why}")
    counts = [
        f"{sum(each.status == status for each in outcomes)} {status}"
        for status in ("passed", "not applicable")
    ]
    failed = sum(not outcome.ok for outcome in outcomes)
    click.echo(f"\n{name} as {chosen.name}: {', '.join([*counts, f'{failed} failed'])}")
    return 0 if ok else 1
