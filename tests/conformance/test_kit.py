"""The kit passes a good backend and fails spoiled ones, each by the check that is about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.cli.main import _run
from edgetl.conformance import CHECKS, Case, Outcome, choose_target, outcome, passed, run_checks
from edgetl.conformance.network import CLASSES, answers, pictures, write_network
from edgetl.errors import InputError
from edgetl.profiles import Target
from tests.conformance.conftest import broken_names

SPOILED = {
    "HalfPlaced": ("placement: every node", "none listed"),
    "DeniesElsewhere": ("placement: every node", "conv0"),
    "EchoesPrecision": ("precision: a float engine", "int8"),
    "ManyLines": ("errors: garbage, and a file", "several lines"),
    "NamelessError": ("errors: garbage, and a file", "does not name model.npz"),
    "WrongError": ("errors: garbage, and a file", "ValueError"),
    "BlamesTheUser": ("errors: a device", "InputError"),
    "Dies": ("errors: garbage, and a file", "SIGABRT"),
    "AnyDevice": ("errors: a device", "no error"),
    "EstimatesWithoutKind": ("estimate: every number", "latency_ms is 1.5"),
    "EstimatesAsMeasured": ("estimate: every number", "'measured'"),
    "EstimatesWithoutSource": ("estimate: every number", "source"),
    "RandomWeights": ("determinism: building", "other answers"),
    "RandomRanges": ("determinism: quantizing", "other answers"),
    "Swallows": ("throughput: run_many hands on", "swallowed"),
    "LosesTheLast": ("throughput: run_many gives", "59 answers for 60"),
    "ReusesItsBuffer": ("answers: answers are", "changed an earlier answer"),
    "TakesAnything": ("input: what is not", "no error"),
    "WrongAnswers": ("answers: the INT8 engine", "correlation -"),
    "Doubles": ("contract: a session", "float64"),
    "MixesBatchesUp": ("batch: any number", "other answers"),
    "LosesTheContract": ("contract: contract and labels", "another contract, or none"),
    "Hoards": ("quantize: holds one", "36 images"),
    "KeepsNothing": ("quantize: nodes kept", "found none"),
    "QuantizesNothing": ("quantize: writes a QDQ", "conv0"),
    "Refuses": ("contract: the float", "out of memory"),
    "Prints": ("output: standard output", "Unkown op target"),
    "RaisesWhenAsked": ("toolchain: available()", "no driver"),
    "NeedsAPackage": ("errors: without its packages", "ModuleNotFoundError"),
    "LetsThrough": ("errors: without its packages", "ModuleNotFoundError instead of"),
    "NoReason": ("toolchain: available()", "no reason"),
    "SupportsAll": ("supports: a made-up", "nothing is"),
    "NoSimulator": ("simulator: answers", "no simulator"),
    "LongObstacle": ("toolchain: what can't be loaded", "several lines"),
    "Heavy": ("runtime: a session", "onnx"),
    "ForgetsVersions": ("toolchain: what keys", "versions() is empty"),
}


def test_the_network_classifies(tmp_path: Path) -> None:
    network = write_network(tmp_path)
    numbers = range(200, 260)
    found = answers(network.model, pictures(numbers)).argmax(1)
    assert (found == np.array(numbers) % len(CLASSES)).mean() > 0.95


def test_the_network_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write_network(folder)
    assert [path.read_bytes() for path in sorted(first.iterdir())] == [
        path.read_bytes() for path in sorted(second.iterdir())
    ]


def test_the_example_passes(
    installed: Path, numpy_target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["backend", "test", "numpy", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    checks = document["checks"]
    assert [check for check in checks if check["status"] in ("failed", "error")] == []
    assert document["passed"] and document["target"] == "numpy-cpu"
    assert [check["name"] for check in checks] == [check.name for check in CHECKS]
    assert sum(check["status"] == "passed" for check in checks) >= len(CHECKS) - 6


@pytest.mark.parametrize(
    ("name", "runs_its_files"), [("OnThePortableModel", False), ("OnTheEngineItself", True)]
)
def test_an_engine_that_is_simulated_passes(
    name: str, runs_its_files: bool, numpy_target: Target, installed: Path, tmp_path: Path
) -> None:
    case = Case(numpy_target.model_copy(update={"backend": name}), tmp_path / "case")
    found = {check.name: outcome(check, case) for check in CHECKS}
    assert [f"{name}: {each.detail}" for name, each in found.items() if not each.ok] == []
    for begins in ("simulator: answers", "estimate: every", "round trip: bundled", "placement: every"):
        assert next(each for name, each in found.items() if name.startswith(begins)).status == "passed"
    truncated = found["errors: a truncated engine is an error, or answers as before"]
    assert (truncated.status == "passed") == runs_its_files


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_backend_fails(name: str, examine: Callable[[str], Callable[[str], Outcome]]) -> None:
    check, says = SPOILED[name]
    found = examine(f"{name}Backend")(check)
    assert not found.ok and says in (found.detail or ""), found


def test_half_an_engine(
    examine: Callable[[str], Callable[[str], Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = examine("LoadsHalfAnEngineBackend")
    assert run("contract: the float").ok
    whole = next((tmp_path / "case").rglob("model.npz"))
    monkeypatch.setenv("BROKEN_ENGINE", str(whole))
    found = run("errors: a truncated")
    assert found.status == "failed" and "loaded as an engine" in str(found.detail)


def test_every_spoiled_backend_is_tried() -> None:
    names = {name.removesuffix("Backend") for name in broken_names() if name.endswith("Backend")}
    assert names == {*SPOILED, "LoadsHalfAnEngine"}


def test_a_check_that_can_say_nothing_is_no_pass(examine: Callable[[str], Callable[[str], Outcome]]) -> None:
    later = examine("RefusesBackend")("placement: a session")
    assert later.status == "not applicable" and "out of memory" in str(later.detail)
    assert later.ok and not passed([later])


def test_the_nearest_target_is_taken(installed: Path, numpy_target: Target) -> None:
    assert choose_target("numpy").name == "numpy-cpu"
    assert choose_target("onnxruntime").device == "CPUExecutionProvider"
    assert choose_target("tensorrt-rtx", "rtx-30").name == "rtx-30"
    with pytest.raises(InputError, match="for openvino, not for numpy"):
        choose_target("numpy", "x86-vnni")
    with pytest.raises(InputError, match="no target profile"):
        choose_target("SwallowsBackend")
    with pytest.raises(InputError, match="unknown backend"):
        choose_target("nope")


def test_a_package_brings_its_targets(installed: Path) -> None:
    from edgetl import profiles

    assert profiles.target("numpy-cpu").backend == "numpy"


def test_a_failure_is_told(
    installed: Path, numpy_target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "config" / "edgetl" / "targets"
    text = (folder / "numpy-cpu.toml").read_text()
    (folder / "spoiled.toml").write_text(text.replace('"numpy"', '"RefusesBackend"'))
    assert _run(["backend", "test", "RefusesBackend"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(CHECKS) + 2
    assert told[0].startswith("✗ contract: the float and the INT8 model become engines · cannot build")
    assert all(line[0] in "✓✗–" for line in told[:-2]) and told[-1].startswith("RefusesBackend as spoiled: ")
    assert _run(["backend", "test", "numpy", "--target", "spoiled"]) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rknn", "RKNN-Toolkit2 is not installed; install it with: edgetl toolchain install rknn"),
        ("nope", "unknown backend 'nope'; known: "),
    ],
)
def test_what_is_not_there_is_not_tried(
    name: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGETL_TOOLCHAINS", str(tmp_path))
    assert _run(["backend", "test", name, "--json"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and says in told.err


@pytest.mark.parametrize("name", ["RaisesWhenAsked", "NoReason"])
def test_whether_something_is_missing_must_be_told_well(
    name: str, installed: Path, numpy_target: Target, tmp_path: Path
) -> None:
    """A backend that does not tell it is at fault, so it is tried."""
    text = (tmp_path / "config" / "edgetl" / "targets" / "numpy-cpu.toml").read_text()
    spoiled = tmp_path / "config" / "edgetl" / "targets" / "spoiled.toml"
    spoiled.write_text(text.replace('"numpy"', f'"{name}Backend"'))
    found = {outcome.name: outcome for outcome in run_checks(f"{name}Backend")}
    assert not found["toolchain: available() tells versions and devices, or one line of what is missing"].ok


def test_backends_are_listed(
    installed: Path, numpy_target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["backend", "ls", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["numpy"]["ok"] and rows["numpy"]["targets"] == ["numpy-cpu"]
    assert not rows["RaisesWhenAskedBackend"]["ok"]
    assert rows["RaisesWhenAskedBackend"]["reason"] == "RuntimeError: no driver"
