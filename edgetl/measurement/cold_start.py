"""Cold start: what a fresh process waits for before its first answer."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.measurement.repeats import over_repeats

_FIGURES = ("import_ms", "load_ms", "first_inference_ms")
_NOTE = (
    "each in a fresh process, the files in the page cache after one process that is not counted; "
    "starting the interpreter is not in it"
)
# isolated, so that nothing in the working folder is imported; the path is the parent's, an archive in it too
_CHILD = """
import json, sys, time
job = json.load(sys.stdin)
sys.path[:] = job.pop("path")
start = time.perf_counter()
from edgetl.measurement.cold_start import answer
answer(start, **job)
"""


def cold_start(
    engine: Path, spec: EngineSpec, shape: Sequence[int], repeats: int = 5, timeout: float = 600.0
) -> dict[str, Any]:
    """Load an engine and run it once, in a process of its own each time.

    Args:
        shape: of its input, ``[N, H, W, 3]``.
        timeout: seconds one process may take.

    Returns:
        JSON-ready: ``import_ms`` (Python's and the runtime's modules), ``load_ms`` (from the engine's file to
        a session, without imports), ``first_inference_ms``, all three quantities over the repeats, and
        ``note``.

    Raises:
        InputError: if there are no repeats.
        BackendError: if a process fails.
    """
    if repeats < 1:
        raise InputError(f"cold start: {repeats} repeats; give at least 1, and 3 for an interval")
    job = {"path": sys.path, "engine": str(engine.resolve()), "spec": asdict(spec), "shape": list(shape)}
    times = [_child(json.dumps(job, default=dict), timeout) for _ in range(repeats + 1)][1:]
    quantities = {name: over_repeats([each[name] for each in times]).to_dict() for name in _FIGURES}
    return {**quantities, "note": _NOTE}


def _child(job: str, timeout: float) -> dict[str, float]:
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD],
            input=job,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise BackendError(f"cold start: {sys.executable} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"cold start: a process was not done after {timeout:g} s") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit status {done.returncode}"
        raise BackendError(f"cold start: the process failed: {reason}")
    found: dict[str, Any] = json.loads(done.stdout)
    if "error" in found:
        raise BackendError(f"cold start: {found['error']}")
    return found


def answer(start: float, engine: str, spec: dict[str, Any], shape: list[int]) -> None:
    """The child's side: prints its times as JSON, or the one line of an error.

    Args:
        start: ``time.perf_counter()`` before anything of edgetl was imported.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # a runtime that prints does not end up in the answer
    with os.fdopen(out, "w") as sink:
        json.dump(_times(start, Path(engine), EngineSpec(**spec), shape), sink)


def _times(start: float, engine: Path, spec: EngineSpec, shape: list[int]) -> dict[str, Any]:
    clock = time.perf_counter
    try:
        backend = get_backend(spec.backend)
        ready = clock()
        with _Imports() as imports:
            session = backend.load(engine, spec)
        loaded = clock()
        black = np.zeros(shape, np.uint8)
        begin = clock()
        session.run(black)
        end = clock()
    except EdgetlError as error:
        return {"error": str(error)}
    return {
        "import_ms": (ready - start + imports.seconds) * 1e3,
        "load_ms": (loaded - ready - imports.seconds) * 1e3,
        "first_inference_ms": (end - begin) * 1e3,
    }


class _Imports:
    """Time spent in import statements and ``import_module`` while this is entered, nested ones once."""

    def __enter__(self) -> _Imports:
        self.seconds = 0.0
        self._nested = False
        self._originals = (builtins.__import__, importlib.import_module)
        builtins.__import__ = self._timed(builtins.__import__)
        importlib.import_module = self._timed(importlib.import_module)
        return self

    def __exit__(self, *_: object) -> None:
        builtins.__import__, importlib.import_module = self._originals

    def _timed(self, load: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._nested:
                return load(*arguments, **named)
            self._nested, begin = True, time.perf_counter()
            try:
                return load(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - begin
                self._nested = False

        return timed
