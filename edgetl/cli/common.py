"""What commands share: progress on the terminal, JSON output, options that recur."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgetl.progress import Advance

if TYPE_CHECKING:
    from rich.console import Console

    from edgetl.context import Context

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


class TerminalObserver:
    """Progress bars on standard error; a stage that took less than a second leaves one quiet line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        started = time.perf_counter()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(title, total=None)

            def advance(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            yield advance
        seconds = time.perf_counter() - started
        self._console.print(f"[green]✓[/green] {title} [dim]{seconds:.1f} s[/dim]", highlight=False)

    def note(self, text: str) -> None:
        self._console.print(f"[yellow]![/yellow] {text}", highlight=False, markup=True)


def make_context() -> Context:
    """A context that shows progress on standard error, with third-party chatter off."""
    from rich.console import Console

    from edgetl.context import Context

    quiet_libraries()
    return Context(observer=TerminalObserver(Console(stderr=True)))


def quiet_libraries() -> None:
    """Turn off the libraries' own narration; errors still raise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")
    for name in ("nncf", "torch", "timm", "onnxscript", "onnx_ir", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
