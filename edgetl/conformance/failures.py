"""Garbage, damage, strangers and missing pieces: each is one line, in the one kind of error."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import EngineSpec
from edgetl.conformance.case import Case, answers_of
from edgetl.conformance.checking import (
    Checks,
    Failed,
    NotApplicable,
    must_refuse,
    refusal,
    require,
    require_one_line,
)
from edgetl.engines import Engine, engine_spec
from edgetl.errors import BackendError, MissingDependencyError

errors = Checks("errors")
runtime = Checks("runtime")

ALL = (errors, runtime)

_GARBAGE = (b"", b"\x00garbage" * 50, b"hello", b"<html></html>", None)
_DEVICES = ("NOPE", "CUDAExecutionProvider", "GPU.7", "")
_SHARES = (0.0, 0.5, 0.95)
_ANY = "engine"
_TIME_LIMIT = 300.0
_START = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
"""Starts a file without importing the package it lies in."""


@errors("garbage, and a file that is not there, are no engine")
def garbage_is_no_engine(case: Case) -> None:
    engine = case.engine("int8")
    files = [_damaged(case, engine, data) for data in _GARBAGE]
    for answer in _in_a_child(case, engine.spec, files):
        _require_error(answer, naming=engine.spec.file if case.standing.loads else None)


@errors("garbage is nothing that a simulator runs")
def garbage_is_not_simulated(case: Case) -> None:
    if case.standing.loads:
        raise NotApplicable("the engine itself is loaded here")
    runs = case.runnable("int8")
    files = [_damaged(case, runs, data) for data in _GARBAGE]
    for answer in _in_a_child(case, runs.spec, files):
        _require_error(answer, naming=runs.spec.file)


@errors("a truncated engine is an error, or answers as before")
def truncated_is_noticed(case: Case) -> str | None:
    engine = case.runnable("int8")
    files = [path for path in engine.folder.iterdir() if path.is_file() and path.name != "entry.json"]
    files.sort(key=lambda path: path.name != engine.spec.file)
    tried = [(path.name, share) for path in files for share in _SHARES]
    damaged = [_truncated(case, engine, name, share) for name, share in tried]
    harmless = []
    wanted = answers_of(engine.open(), case.images[:1])
    for (name, share), answer in zip(tried, _in_a_child(case, engine.spec, damaged), strict=True):
        if "error" in answer:
            _require_error(answer)
            continue
        where = f"{share:.0%} of {name}"
        require(name != engine.spec.file, f"{where} was loaded as an engine")
        require(
            np.array_equal(np.float32(answer["logits"]), wanted), f"{where} was loaded, with other answers"
        )
        harmless.append(name)
    return f"not needed to load: {', '.join(dict.fromkeys(harmless))}" if harmless else None


@errors("a foreign model without the uint8 input is no engine")
def foreign_is_no_engine(case: Case) -> None:
    engine = case.loadable("int8")
    if Path(engine.spec.file).suffix != ".onnx" and not _reads_onnx(case, engine):
        raise NotApplicable("its engines are no ONNX files")
    path = case.new_folder() / "foreign.onnx"
    path.write_bytes(case.network.foreign.read_bytes())
    must_refuse(lambda: case.backend.load(path, engine.spec), "loading a foreign ONNX", naming="uint8")


def _reads_onnx(case: Case, engine: Engine) -> bool:
    """Whether the runtime loads ONNX files besides its own engines."""
    return refusal(lambda: case.backend.load(case.network.model, engine.spec), "loading an ONNX") is None


@errors("a device that is not here is refused")
def unknown_device(case: Case) -> None:
    engine = case.engine("int8")
    for device in set(_DEVICES) - set(case.backend.available().devices):
        _require_no_device(case, engine, replace(engine.spec, device=device))


def _require_no_device(case: Case, engine: Engine, spec: EngineSpec) -> None:
    doing = f"loading on device {spec.device!r}"
    error = must_refuse(lambda: case.backend.load(engine.folder / spec.file, spec), doing)
    ours = isinstance(error, BackendError | MissingDependencyError)
    require(ours, f"{doing} raised {type(error).__name__} instead of BackendError")


@errors("a garbage ONNX does not become an engine")
def garbage_is_not_built(case: Case) -> None:
    path = case.new_folder() / "garbage.onnx"
    path.write_bytes(b"garbage")
    folder = case.new_folder()

    def build() -> None:
        verb = case.backend.plan if case.engine("int8").planned else case.backend.build
        name = verb(path, case.target, folder)
        case.backend.load(folder / name, case.engine("int8").spec)

    must_refuse(build, "building an engine of a garbage ONNX")


@errors("a garbage ONNX is not quantized")
def garbage_is_not_quantized(case: Case) -> None:
    path = case.new_folder() / "garbage.onnx"
    path.write_bytes(b"garbage")
    must_refuse(lambda: case.quantize(path), "quantizing a garbage ONNX", naming=path.name)


@errors("without its packages, available() gives a reason and the verbs one line")
def missing_toolchain(case: Case) -> str:
    spec = engine_spec(case.target, _ANY)
    request = {
        "verb": "missing",
        "spec": _spec(spec),
        "engine": str(case.new_folder() / spec.file),
        "model": str(case.network.backbone),
        "target": case.target.model_dump(mode="json"),
        "folder": str(case.new_folder()),
    }
    answer = _ask(request)[0]
    require("error" not in answer, f"available() raised {answer.get('error')}: {answer.get('said')}")
    for verb, found in answer["verbs"].items():
        if "error" in found:
            _require_error(found, doing=verb)
    if answer["ok"]:
        return "it is there without any package"
    require_one_line(answer["reason"] or "", "the reason")
    return str(answer["reason"])


@runtime("a session needs neither torch nor onnx nor edgetl's training code")
def session_is_light(case: Case) -> None:
    engine = case.loadable("int8")
    answer = _in_a_child(case, engine.spec, [engine.folder / engine.spec.file])[0]
    require("error" not in answer, f"it does not load in a process of its own: {answer.get('said')}")
    require(not answer["heavy"], f"loading it imports {', '.join(answer['heavy'])}")


def _damaged(case: Case, engine: Engine, data: bytes | None) -> Path:
    """The engine's file name with other content, alone in a folder; or without any file."""
    path = case.new_folder() / engine.spec.file
    if data is not None:
        path.write_bytes(data)
    return path


def _truncated(case: Case, engine: Engine, name: str, share: float) -> Path:
    folder = case.new_folder() / "engine"
    shutil.copytree(engine.folder, folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    return folder / engine.spec.file


def _require_error(
    answer: Mapping[str, Any], *, naming: str | None = None, doing: str = "loading it"
) -> None:
    require("error" in answer, f"{doing} raised no error")
    said = answer["said"]
    require(answer["ours"], f"{doing} raised {answer['error']} instead of a BackendError: {said}")
    require_one_line(said, f"the error of {doing}")
    require(naming is None or naming in said, f"the error of {doing} does not name {naming}: {said}")


def _in_a_child(case: Case, spec: EngineSpec, engines: list[Path]) -> list[dict[str, Any]]:
    """What loading each engine and running the first image gives, in a process that may die of it."""
    image = case.new_folder() / "image.npy"
    np.save(image, case.images[:1])
    files = {"engines": [str(path) for path in engines], "image": str(image)}
    return _ask({"verb": "load", "spec": _spec(spec), **files})


def _spec(spec: EngineSpec) -> dict[str, Any]:
    return {**asdict(spec), "options": dict(spec.options)}


def _ask(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answers of a child, one a line; see ``conformance.child``."""
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", _START, str(Path(__file__).with_name("child.py"))],
        input=json.dumps(request),
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIME_LIMIT,
    )
    found = [json.loads(line) for line in _answers(done.stdout)]
    if done.returncode:
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"status {done.returncode}"
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Failed(f"the process died ({how}) after {len(found)} answers: {last}")
    return found


def _answers(text: str) -> Iterator[str]:
    from edgetl.conformance.child import MARK

    return (line.removeprefix(MARK) for line in text.splitlines() if line.startswith(MARK))
