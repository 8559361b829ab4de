"""What commands share: progress on the terminal, JSON output, options that recur."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgetl.progress import Advance

if TYPE_CHECKING:
    from rich.console import Console

    from edgetl.context import Context

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")

fallback_option = click.option(
    "--max-fallback",
    type=click.FloatRange(0, 100),
    default=0,
    show_default=True,
    metavar="PCT",
    help="Gate: share of nodes, or of time, that may run elsewhere than on the device asked for.",
)

seconds_option = click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="S",
    help="How long each latency and throughput is taken, at least.",
)


class TerminalObserver:
    """Progress bars on standard error while a stage runs on a terminal, one line when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = threading.Lock()

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        from rich.markup import escape

        started = time.perf_counter()
        with self._bar(title) as advance:
            yield advance
        seconds = time.perf_counter() - started
        self._console.print(f"[green]✓[/green] {escape(title)} [dim]{seconds:.1f} s[/dim]", highlight=False)

    @contextlib.contextmanager
    def _bar(self, title: str) -> Iterator[Advance]:
        if not self._console.is_terminal or not self._shown.acquire(blocking=False):
            yield lambda done, total: None  # a terminal shows one bar at a time, that of the first device
            return
        try:
            with self._live_bar(title) as advance:
                yield advance
        finally:
            self._shown.release()

    @contextlib.contextmanager
    def _live_bar(self, title: str) -> Iterator[Advance]:
        from rich import progress

        columns = (
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
        )
        with progress.Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def note(self, text: str) -> None:
        from rich.markup import escape

        self._console.print(f"[yellow]![/yellow] {escape(text)}", highlight=False)


def make_context() -> Context:
    """A context that shows progress on standard error, with third-party chatter off."""
    from rich.console import Console

    from edgetl.context import Context

    quiet_libraries()
    return Context(observer=TerminalObserver(Console(stderr=True)))


def result_console() -> Console:
    """Standard output; 100 columns where that is a file or a pipe."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100)


def quiet_libraries() -> None:
    """Turn off the libraries' own narration; errors still raise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")
    for name in ("nncf", "torch", "timm", "onnxscript", "onnx_ir", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)


def require_file(path: Path | None, option: str) -> None:
    """Whether a file can be written there, asked before the work that it is to hold.

    Raises:
        InputError: if it is a folder, or what should be its folder is none.
    """
    from edgetl.errors import InputError

    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option} names a file to write; {path} is a folder")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{option} can't write {path}: {folder} is no folder that you may write to")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
