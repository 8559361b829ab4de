"""The story with NPUs that are not here: every compiler is real, every number carries what it is worth."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.e2e.driving import QUICK, Command, Run, write_shapes

pytest.importorskip("onnxruntime_qnn", reason="onnxruntime-qnn is not installed (extra qnn)")
pytest.importorskip("ethosu", reason="Vela is not installed (extra ethosu)")
SCHEMA = json.loads(resources.files("edgetl").joinpath("schemas/results.schema.json").read_text())
QUALCOMM, ARM, INTEL = "qcs6490", "ethos-u55-128", "intel-npu-4000"
COUNTS = re.compile(
    r"size_bytes|confusion(\.\d+)+|per_class\.\d+\.(support|label)|precision_detail\.executed\.\w+"
    r"|placement\.share_of_(nodes|time)|layers\..+"
)
"""Numbers that are counts of something in hand, and shares of such: they have no kind."""
SPEED = re.compile(r"(_|\b)(ms|us|ns|seconds?|cycles?|fps|latency|throughput)(_|\b)", re.IGNORECASE)


@pytest.fixture(scope="module")
def run(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Run:
    images = write_shapes(tmp_path_factory.mktemp("few") / "images", 16)
    out = tmp_path_factory.mktemp("npu")
    targets = [item for name in (QUALCOMM, ARM, INTEL) for item in ("-t", name)]
    done = command("run", images, *targets, *QUICK, "-o", out)
    return Run(out, json.loads((out / "results.json").read_text()), done)


@pytest.fixture
def engines(run: Run) -> dict[str, dict[str, Any]]:
    return {engine["target"]: engine for engine in run.results["engines"]}


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number of a JSON value with its path; a quantity counts as one, with its kind."""
    if isinstance(value, dict):
        if value.keys() == {"value", "low", "high", "n", "kind"}:
            yield path, value
            return
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from numbers(inner, f"{path}.{position}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def test_every_engine_was_made(run: Run, engines: dict[str, dict[str, Any]]) -> None:
    jsonschema.validate(run.results, SCHEMA)
    assert set(engines) == {QUALCOMM, ARM, INTEL}
    for engine in engines.values():
        assert engine["error"] is None and engine["precision"] == "int8"
        assert engine["standing"] and (run.out / engine["bundle"] / "manifest.json").is_file()


def test_no_number_without_its_kind(engines: dict[str, dict[str, Any]]) -> None:
    for engine in engines.values():
        for path, value in numbers(engine):
            if isinstance(value, dict):
                assert value["kind"] != "measured", path
                assert (value["kind"] == "estimated") == path.startswith("estimate."), path
            else:
                assert COUNTS.fullmatch(path) and not SPEED.search(path), path


def test_no_latency(engines: dict[str, dict[str, Any]]) -> None:
    for engine in engines.values():
        assert engine["latency_ms"] is None and engine["throughput_per_s"] is None and not engine["speedup"]
    assert engines[ARM]["estimate"]["latency_ms"]["value"] > 0
    assert "Vela" in engines[ARM]["estimate"]["source"]


def test_all_of_it_is_on_the_npu(engines: dict[str, dict[str, Any]]) -> None:
    for name in (QUALCOMM, ARM):
        assert (
            engines[name]["placement"]["share_of_nodes"] == 1.0
            and not engines[name]["placement"]["elsewhere"]
        )
    assert engines[INTEL]["state"] == "uncompiled" and engines[INTEL]["placement"] is None


def test_bundles_can_be_verified_where_they_were_made(
    run: Run, engines: dict[str, dict[str, Any]], command: Command
) -> None:
    for name in engines:
        done = command("verify", run.bundle(name))
        assert "simulat" in done.stdout, name


def test_another_run_does_nothing_again(run: Run, command: Command, tmp_path: Path) -> None:
    again = command("run", run.results["dataset"]["root"], "-t", ARM, *QUICK, "-o", tmp_path)
    [engine] = json.loads((tmp_path / "results.json").read_text())["engines"]
    first = next(item for item in run.results["engines"] if item["target"] == ARM)
    assert engine["accuracy"] == first["accuracy"] and engine["estimate"] == first["estimate"]
    assert again.returncode == 0
