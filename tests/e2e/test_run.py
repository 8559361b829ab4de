"""The whole story on drawn shapes, through the command line, as a user runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from tests.e2e.driving import CHOSEN, CLASSES, QUICK, TARGETS, Command, Run, draw, write_shapes

SCHEMA = json.loads(resources.files("edgetl").joinpath("schemas/results.schema.json").read_text())


def numbers(value: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every quantity in a document, with where it stands."""
    if isinstance(value, dict):
        if "kind" in value and "value" in value:
            return [(path, value)]
        return [found for key, inner in value.items() for found in numbers(inner, f"{path}/{key}")]
    if isinstance(value, list):
        return [found for index, inner in enumerate(value) for found in numbers(inner, f"{path}/{index}")]
    return []


def test_results_keep_their_promise(finished: Run) -> None:
    results = finished.results
    jsonschema.validate(results, SCHEMA)
    assert [engine["target"] for engine in results["engines"]] == list(TARGETS)
    for engine in results["engines"]:
        assert engine["error"] is None
        assert engine["precision"] == "int8"
        assert engine["accuracy"]["n"] == results["dataset"]["val"] == 24
        assert engine["accuracy"]["value"] >= 0.6
        assert engine["latency_ms"]["p50"]["low"] <= engine["latency_ms"]["p50"]["value"]
        assert engine["latency_ms"]["p99"]["n"] >= 662
        assert engine["throughput_per_s"]["value"] > 0
        assert engine["placement"]["share_of_nodes"] == 1
        assert np.trace(engine["confusion"]) == round(engine["accuracy"]["value"] * 24)
    assert len(results["fp32"]["engines"]) == 2
    assert results["export"]["parity"]["top1_agreement"]["value"] == 1
    for where, quantity in numbers(results):
        assert quantity["n"] >= 1, where


def test_a_report_and_a_summary_come_out(finished: Run) -> None:
    page = (finished.out / "report.html").read_text()
    for target in TARGETS:
        assert target in page
        assert target in finished.process.stdout
    assert "data:image/jpeg" in page or all(not e["changed"] for e in finished.results["engines"])


def test_a_second_run_recomputes_nothing(
    finished: Run, story: Callable[..., Run], command: Command, tmp_path: Path
) -> None:
    def entries() -> set[Path]:
        return {
            path for path in command.cache.glob("*/*/*/entry.json") if path.parts[-4] not in ("tmp", "locks")
        }

    before = entries()
    again = story(out=tmp_path / "again")
    assert entries() == before
    for target in TARGETS:
        one = json.loads((finished.bundle(target) / "manifest.json").read_text())
        two = json.loads((again.bundle(target) / "manifest.json").read_text())
        assert one["files"] == two["files"]


def test_bundles_verify_and_predict_without_torch(finished: Run, shapes: Path, command: Command) -> None:
    for target in TARGETS:
        command("verify", finished.bundle(target))
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "onnx", "nncf", "sklearn", "scipy", "pydantic", "plotly"):
            raise ImportError(name + " must not be needed on the device")
sys.meta_path.insert(0, Refuse())
import edgetl
for target in {TARGETS!r}:
    model = edgetl.load({str(finished.out)!r} + "/bundles/" + target)
    answer = model.predict({str(shapes / "circle" / "000.png")!r})
    assert answer.label in model.labels and abs(sum(answer.probabilities.values()) - 1) < 1e-9
results = edgetl.bench({str(finished.bundle(TARGETS[0]))!r}, seconds=0.3)
assert results["engines"][0]["latency_ms"]["p50"]["value"] > 0
assert results["engines"][0]["accuracy"] is None
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=command.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = command("predict", finished.bundle(TARGETS[0]), shapes / "cross" / "000.png", "--json")
    assert json.loads(printed.stdout)[0]["label"] in CLASSES


def test_bench_counts_unseen_images_only_and_agrees_with_the_run(
    finished: Run, shapes: Path, command: Command
) -> None:
    bundle = finished.bundle("x86-onnxruntime")
    results = json.loads(
        command("bench", bundle, "--images", shapes, "--brief", "--seconds", "0.3", "--json").stdout
    )
    jsonschema.validate(results, SCHEMA)
    assert results["engines"][0]["accuracy"] == finished.results["engines"][1]["accuracy"]


def test_bench_refuses_folders_it_cannot_judge(
    finished: Run, shapes: Path, command: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(shapes, other)
    (other / "circle").rename(other / "ring")
    done = command("bench", finished.bundle("x86-vnni"), "--images", other, check=False)
    assert done.returncode == 2 and "the bundle has" in done.stderr


def test_an_altered_bundle_is_refused_everywhere(finished: Run, command: Command, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(finished.bundle("x86-vnni"), bundle)
    engine = bundle / "engine" / "model.bin"
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(data)
    for arguments in (("verify", bundle), ("bench", bundle), ("predict", bundle, "x.png")):
        done = command(*arguments, check=False)
        assert done.returncode == 2 and "was altered" in done.stderr


def test_gates_decide_the_exit_status(finished: Run, command: Command, shapes: Path, tmp_path: Path) -> None:
    arguments = ("run", shapes, *CHOSEN, *QUICK, "-o", tmp_path / "out")
    assert command(*arguments, "--max-latency", "10000").returncode == 0
    slow = command(*arguments, "--max-latency", "0.0001", check=False)
    assert slow.returncode == 1 and "gate failed" in slow.stderr
    unsure = command(*arguments, "--max-drop", "0.01", check=False)
    assert unsure.returncode == 1 and "held-out images would decide" in unsure.stderr


def test_a_target_of_another_machine_is_simulated_and_has_no_latency(
    shapes: Path, command: Command, tmp_path: Path
) -> None:
    command("run", shapes, "--target", "arm64-cpu", *QUICK, "-o", tmp_path / "out")
    engine = json.loads((tmp_path / "out" / "results.json").read_text())["engines"][0]
    assert engine["latency_ms"] is None and engine["throughput_per_s"] is None and engine["speedup"] is None
    assert {quantity["kind"] for _, quantity in numbers(engine)} - {"measured"} == {"simulated"}
    for name in ("accuracy", "drop_points", "agreement"):
        assert engine[name]["kind"] == "simulated"


def test_odd_and_broken_files_are_read_or_listed(command: Command, tmp_path: Path) -> None:
    images = write_shapes(tmp_path / "images", 12)
    picture = draw("circle", 5)
    picture.convert("CMYK").save(images / "circle" / "cmyk.jpg")
    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(images / "circle" / "deep.png")
    picture.quantize(16).save(images / "circle" / "palette.gif")
    whole = images / "whole.jpg"
    picture.resize((300, 300)).save(whole)
    (images / "cross" / "truncated.jpg").write_bytes(whole.read_bytes()[:6000])
    whole.unlink()
    (images / "cross" / "text.jpg").write_text("not a picture")
    (images / "square" / "zero.png").touch()
    done = command("run", images, "--target", "x86-onnxruntime", *QUICK, "-o", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    skipped = {item["path"]: item["reason"] for item in results["skipped"]}
    assert set(skipped) == {"cross/truncated.jpg", "cross/text.jpg", "square/zero.png"}
    assert all(f"skipped {path}: {reason}" in done.stdout for path, reason in skipped.items())
    assert results["dataset"]["train"] + results["dataset"]["val"] == 3 * 12 + 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "EMPTY"], "no class folders"),
        (["run", "ONE"], "needs 2 or more"),
        (["run", "MISSING"], "does not exist"),
        (["run", "IMAGES", "-t", "x86-vnnni"], "did you mean x86-vnni"),
        (["run", "IMAGES", "-o", "FILE/out"], "cannot write"),
        (["run", "IMAGES", "-b", "resnet18"], "needs weights"),
        (["run", "IMAGES", "--weights", "MISSING"], "does not exist"),
        (["run", "IMAGES", "--recipe", "nope"], "unknown recipe"),
        (["export", "EMPTY", "-o", "x.onnx"], "not a model folder"),
        (["quantize", "FILE", "--images", "IMAGES", "-t", "x86-vnni", "-o", "x.onnx"], "not an ONNX model"),
        (["build", "MISSING", "-t", "x86-vnni", "-o", "x"], "does not exist"),
        (["bench", "EMPTY"], "not a bundle"),
        (["verify", "MISSING"], "not a bundle"),
        (["report", "MISSING"], "cannot read"),
        (["targets", "show", "nope"], "unknown target"),
        (["nope"], "No such command"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], said: str, shapes: Path, command: Command, tmp_path: Path
) -> None:
    shutil.copytree(shapes / "circle", tmp_path / "ONE" / "circle")
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").write_text("hello")
    places = {
        "IMAGES": str(shapes),
        **{name: str(tmp_path / name) for name in ("ONE", "EMPTY", "FILE", "MISSING")},
    }
    filled = [next((a.replace(k, v) for k, v in places.items() if a.startswith(k)), a) for a in arguments]
    done = command(*filled, check=False)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (Path.cwd() / "edgetl-out").exists()


def test_stages_alone(shapes: Path, command: Command, tmp_path: Path) -> None:
    model, onnx, int8, bundle = (tmp_path / name for name in ("model", "model.onnx", "int8.onnx", "bundle"))
    trained = json.loads(command("train", shapes, "-o", model, "--json").stdout)
    assert trained["metrics"]["accuracy"]["n"] == 24
    exported = json.loads(command("export", model, "-o", onnx, "--json").stdout)
    assert exported["parity"]["top1_agreement"]["value"] == 1
    quantized = json.loads(
        command(
            "quantize",
            onnx,
            "--images",
            shapes,
            "-t",
            "x86-onnxruntime",
            "--recipe",
            "quick",
            "-o",
            int8,
            "--json",
        ).stdout
    )
    assert quantized["refit"]["after"]["n"] == 24
    refused = command("build", onnx, "-t", "x86-onnxruntime", "-o", bundle, check=False)
    assert refused.returncode == 2 and "quantize it first" in refused.stderr
    built = json.loads(command("build", int8, "-t", "x86-onnxruntime", "-o", bundle, "--json").stdout)
    assert built["precision"]["used"] == "int8"
    command("verify", bundle)
    measured = json.loads(
        command("bench", bundle, "--images", shapes, "--brief", "--seconds", "0.3", "--json").stdout
    )
    assert measured["engines"][0]["accuracy"]["n"] == 24
    mismatch = command(
        "quantize", onnx, "--images", shapes, "-t", "x86-vnni", "-o", int8,
        "--size", "224", "--mean", "0,0,0", "--std", "1,1,1", check=False,
    )  # fmt: skip
    assert mismatch.returncode == 2 and "!= mean" in mismatch.stderr and "!= std" in mismatch.stderr


def test_train_does_not_replace_a_folder_of_other_things(
    shapes: Path, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = command("train", shapes, "-o", tmp_path, check=False)
    assert done.returncode == 2 and "refusing to replace" in done.stderr
    assert (tmp_path / "thesis.tex").exists()


def test_starting_up_imports_nothing_heavy() -> None:
    script = """
import sys
import edgetl, edgetl.cli.main
from click.testing import CliRunner
assert CliRunner().invoke(edgetl.cli.main.cli, ["--help"]).exit_code == 0
heavy = {"torch", "onnx", "onnxruntime", "openvino", "numpy", "PIL", "pydantic", "rich", "plotly", "timm"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doctor_targets_cache_and_schema_answer(command: Command) -> None:
    doctor = json.loads(command("doctor", "--json").stdout)
    rows = {row["name"]: row for row in doctor["backends"]}
    assert all(rows[name]["available"] for name in ("openvino", "onnxruntime"))
    assert all(row["available"] or row["reason"] for row in rows.values())
    names = [row["name"] for row in json.loads(command("targets", "--json").stdout)]
    assert {"x86-vnni", "x86-avx2", "x86-onnxruntime", "arm64-cpu"} <= set(names)
    assert json.loads(command("targets", "show", "x86-vnni").stdout)["backend"] == "openvino"
    assert "kinds" in json.loads(command("cache", "ls", "--json").stdout)
    assert json.loads(command("schema").stdout) == SCHEMA
