"""What the areas share: options, a folder to work in, someone to tell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgetl.context import Context
from edgetl.errors import EdgetlError
from edgetl.store import Store

ROOT = Path(__file__).resolve().parent.parent
CLI = ("-c", "from edgetl.cli.main import main; main()")
"""The command line as interpreter arguments: the console script need not be installed."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        images: the user's folder of class folders, or None.
        quick: shorter runs, for trying the benchmarks themselves.
        work: an empty folder that is removed afterwards.
        say: told what goes on.
    """

    images: Path | None
    quick: bool
    work: Path
    say: Callable[[str], None]

    @cached_property
    def context(self) -> Context:
        """With a store of this run's own, so that nothing an earlier run left is taken for measured."""
        return Context(Store(self.work / "store"))

    def folder(self, name: str) -> Path:
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def python(arguments: Sequence[str], *, store: Path | None = None) -> str:
    """Run this interpreter with edgetl and the benchmarks importable; returns its standard output.

    Args:
        store: edgetl's cache folder in there.

    Raises:
        EdgetlError: if it fails, with the last line of its standard error.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if store is not None:
        environment["EDGETL_CACHE"] = str(store)
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise EdgetlError(f"{' '.join(arguments)[:80]} failed: {lines[-1] if lines else done.returncode}")
    return done.stdout
