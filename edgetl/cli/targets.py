"""edgetl targets [show NAME] [--supports FILE.onnx]."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.cli.common import json_option, make_context, print_json

if TYPE_CHECKING:
    from edgetl.support import Answer, Survey

_FEW = 3
_STATES = ("yes", "no", "unknown")
_COLUMNS = 100


@click.group(invoke_without_command=True)
@click.option(
    "--supports",
    type=click.Path(path_type=Path),
    metavar="FILE.onnx",
    help="Ask the targets' own parsers which operators of this model they take.",
)
@click.option(
    "-t",
    "--target",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this target, or all-npu and the like; repeatable.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, supports: Path | None, names: tuple[str, ...], as_json: bool) -> int:
    """List the device profiles; 'show NAME' prints one.

    With --supports, exits with 1 if every target asked refuses the model.
    """
    if ctx.invoked_subcommand:
        return 0
    if supports:
        return _supports(supports, names, as_json)
    rows = _rows(names)
    if as_json:
        print_json(rows)
        return 0
    for processor, group in groupby(rows, key=lambda row: str(row["processor"])):
        click.echo(processor)
        _print_rows(list(group))
    if any(row["why"] for row in rows):
        click.echo("\nsimulated: accuracy only, no latency here; why: edgetl doctor --target NAME")
    return 0


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Print one profile as JSON."""
    from edgetl import profiles

    print_json(profiles.target(name).model_dump(mode="json"))


def _rows(names: Sequence[str]) -> list[dict[str, Any]]:
    """Facts of the targets, those of a processor together."""
    from edgetl import profiles
    from edgetl.device.environment import environment
    from edgetl.engines import standing

    facts = environment()
    rows = []
    for target in profiles.targets_of(names or profiles.target_names()):
        here = standing(target, facts)
        rows.append(
            {
                "name": target.name,
                "title": target.title,
                "processor": target.processor,
                "backend": target.backend,
                "here": here.kind,
                "why": here.reason,
            }
        )
    return sorted(rows, key=lambda row: str(row["processor"]))


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Aligned columns, titles cut where the terminal ends."""
    keys = ("name", "backend", "here")
    widths = [max(len(str(row[key])) for row in rows) + 2 for key in keys]
    room = _width() - sum(widths) - 2
    for row in rows:
        columns = "".join(f"{row[key]:{width}}" for key, width in zip(keys, widths, strict=True))
        click.echo(f"  {columns}{_cut(row['title'], room)}")


def _supports(model: Path, names: Sequence[str], as_json: bool) -> int:
    from edgetl import profiles
    from edgetl.support import survey

    targets = profiles.targets_of(names or profiles.target_names())
    found = survey(model, targets, make_context())
    if as_json:
        print_json(found.to_dict())
    else:
        _print_survey(found)
    return 1 if all(answer.state == "no" for answer in found.answers) else 0


def _print_survey(found: Survey) -> None:
    """Targets that say the same stand together."""
    kinds = ", ".join(f"{count} {name}" for name, count in found.operators.items())
    click.echo(_cut(f"{Path(found.model).name}: opset {found.opset}, {kinds}", _width()))
    if found.refused:
        _print_wrapped("", f"edgetl builds no engine of it: {found.refused}")

    def same(answer: Answer) -> tuple[str, int, str, tuple[str, ...]]:
        return answer.processor, _STATES.index(answer.state), answer.backend, answer.reasons

    for processor, group in groupby(sorted(found.answers, key=same), key=lambda answer: answer.processor):
        click.echo(processor)
        for (_, state, backend, reasons), alike in groupby(group, key=same):
            targets = ", ".join(answer.target for answer in alike)
            _print_wrapped(f"  {_STATES[state]:9}{backend:14}", targets)
            for line in _brief(_STATES[state], reasons):
                _print_wrapped(" " * 11, line)


def _brief(state: str, reasons: Sequence[str]) -> Sequence[str]:
    """Of the nodes refused the first few and how many more there are; all that keeps a target unknown."""
    rest = len(reasons) - _FEW
    if state != "no" or rest <= 0:
        return reasons
    return [*reasons[:_FEW], f"and {rest} more; all of them: --json"]


def _print_wrapped(first: str, text: str) -> None:
    indent = " " * len(first)
    click.echo(textwrap.fill(text, _width(), initial_indent=first, subsequent_indent=indent))


def _width() -> int:
    return shutil.get_terminal_size((_COLUMNS, 24)).columns


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"
