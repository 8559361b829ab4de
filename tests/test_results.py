from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.contract import Contract
from edgetl.data import Dataset, Skipped
from edgetl.device.environment import environment
from edgetl.engines import Engine, Standing
from edgetl.errors import InputError
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.stage import Speed
from edgetl.quantity import Quantity, quantile
from edgetl.results import (
    Budgets,
    Measured,
    Scene,
    document,
    engine_section,
    float_section,
    read_results,
    write_results,
)

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = json.loads((resources.files("edgetl") / "schemas" / "results.schema.json").read_text())


def predictions(dataset: Dataset, wrong: int = 0, rows: tuple[int, ...] | None = None) -> Predictions:
    """Logits that are right for all held-out images but the first ``wrong``."""
    rows = rows if rows is not None else tuple(range(len(dataset.held_out)))
    labels = np.array([dataset.held_out[row].label for row in rows])
    labels[:wrong] = (labels[:wrong] + 1) % 3
    return Predictions(rows, np.eye(3, dtype=np.float32)[labels] * 5, {})


def speed() -> Speed:
    samples = sorted(np.random.default_rng(0).normal(2, 0.1, 1000).tolist())
    quantiles = {name: quantile(samples, q).to_dict() for name, q in (("p50", 0.5), ("p90", 0.9))}
    one = Quantity(2.0, 1.9, 2.1, 1000).to_dict()
    return Speed(
        latency={
            **quantiles,
            "p99": None,
            "mean": one,
            "maximum": one,
            "samples_ms": samples,
            "notes": [],
            "first_ms": 3.0,
            "jitter": None,
        },
        throughput=one,
        precision={"asked": "int8", "used": "int8", "float_part": "f32", "executed": {"int8": 4}},
        placement={"device": "CPU", "share_of_nodes": 1.0, "share_of_time": None, "elsewhere": []},
        speedup={"fp32-onnxruntime": one},
        measured_at="2025-01-01T00:00:00+00:00",
    )


@pytest.fixture
def engine(kits: Callable[[str], Any]) -> Engine:
    kit = kits("onnxruntime")
    folder = kit.int8_engine.parent
    return Engine(kit.target.name, kit.spec, folder, "d" * 64, kit.int8_model, Standing("measured", True))


@pytest.fixture
def scene(dataset: Dataset, contract: Contract) -> Scene:
    skipped = (Skipped("red/a.txt", "not an image"),)
    return Scene(replace(dataset, skipped=skipped), contract, predictions(dataset), Budgets(5.0, 3.0))


def valid(value: dict[str, Any]) -> dict[str, Any]:
    """The document as a reader gets it, checked against the published schema."""
    again: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(again)
    return again


def whole(scene: Scene, *engines: dict[str, Any]) -> dict[str, Any]:
    return valid(
        document(
            scene,
            environment(),
            fp32=float_section(scene, []),
            train=None,
            export=None,
            engines=list(engines),
        )
    )


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_whole_document_is_valid(scene: Scene, engine: Engine, dataset: Dataset) -> None:
    reference = replace(engine, name="fp32-onnxruntime")
    found = valid(
        document(
            scene,
            environment(),
            fp32=float_section(scene, [Measured(reference, predictions(dataset), speed())]),
            train={"accuracy": Quantity(1.0, 0.7, 1.0, 9).to_dict(), "seconds": {"features": 1, "head": 2}},
            export=None,
            engines=[engine_section(scene, Measured(engine, predictions(dataset, 1), speed()), "bundles/x")],
        )
    )
    n = len(dataset.held_out)
    (entry,) = found["engines"]
    assert found["contract"] == scene.contract.fingerprint
    assert found["skipped"] == [{"path": "red/a.txt", "reason": "not an image"}]
    assert found["fp32"]["accuracy"]["value"] == 1 and found["fp32"]["engines"][0]["error"] is None
    assert entry["accuracy"]["value"] == pytest.approx(1 - 1 / n) and entry["accuracy"]["n"] == n
    assert entry["drop_points"]["value"] == pytest.approx(100 / n)
    assert entry["agreement"]["value"] == pytest.approx(1 - 1 / n)
    assert entry["precision"] == "int8" and entry["bundle"] == "bundles/x"
    assert entry["latency_ms"]["p50"]["value"] == pytest.approx(2, abs=0.02)
    assert entry["speedup"]["value"] == 2.0
    assert entry["size_bytes"] == (engine.folder / engine.spec.file).stat().st_size
    first = dataset.held_out[0]
    wrong = dataset.classes[(first.label + 1) % 3]
    assert entry["changed"] == [
        {
            "path": first.path.relative_to(dataset.root).as_posix(),
            "label": dataset.classes[first.label],
            "before": dataset.classes[first.label],
            "after": wrong,
        }
    ]


def test_gates(scene: Scene, engine: Engine, dataset: Dataset) -> None:
    same = Measured(engine, predictions(dataset), speed())
    n = len(dataset.held_out)
    entry = engine_section(scene, same, None)
    assert entry["gate"] == "undecided" and "more held-out images" in entry["gate_reasons"][0]
    worse = replace(same, predictions=predictions(dataset, n))
    assert engine_section(scene, worse, None)["gate"] == "failed"
    free = replace(scene, budgets=Budgets())
    assert engine_section(free, worse, None)["gate"] == "none"
    latency = replace(scene, budgets=Budgets(max_latency=3.0))
    assert engine_section(latency, same, None)["gate"] == "passed"
    assert engine_section(latency, replace(same, error="broken"), None)["gate"] == "failed"


def test_an_engine_that_failed_is_an_entry_of_nulls(scene: Scene, engine: Engine) -> None:
    entry = whole(scene, engine_section(scene, Measured(engine, None, None, "it broke"), None))["engines"][0]
    assert entry["error"] == "it broke" and entry["gate"] == "failed"
    for name in ("accuracy", "drop_points", "agreement", "latency_ms", "throughput_per_s", "placement"):
        assert entry[name] is None


def test_a_machine_of_another_kind_only_simulates(scene: Scene, engine: Engine, dataset: Dataset) -> None:
    stand_in = replace(engine, standing=Standing("simulated", False, "another machine"))
    entry = whole(scene, engine_section(scene, Measured(stand_in, predictions(dataset), speed()), None))
    found = entry["engines"][0]
    assert found["standing"] == "another machine"
    assert {found[name]["kind"] for name in ("accuracy", "drop_points", "agreement")} == {"simulated"}
    assert {row["recall"]["kind"] for row in found["per_class"]} == {"simulated"}
    assert found["latency_ms"] is None and found["throughput_per_s"] is None
    assert found["gate"] == "undecided"


def test_only_images_that_both_could_read_are_compared(
    scene: Scene, engine: Engine, dataset: Dataset
) -> None:
    n = len(dataset.held_out)
    fewer = Measured(engine, predictions(dataset, rows=tuple(range(2, n))), None)
    entry = engine_section(scene, fewer, None)
    assert entry["drop_points"]["n"] == entry["agreement"]["n"] == n - 2


def test_names_that_are_no_utf8_can_be_written(
    scene: Scene, engine: Engine, dataset: Dataset, tmp_path: Path
) -> None:
    odd = replace(dataset.held_out[0], file=str(dataset.root / "red" / "\udcff\n.png"))
    side = "test" if dataset.test else "val"
    renamed = replace(dataset, **{side: (odd, *dataset.held_out[1:])})
    changed = engine_section(
        replace(scene, dataset=renamed), Measured(engine, predictions(renamed, 1), None), None
    )
    write_results(whole(scene, changed), tmp_path / "results.json")
    assert read_results(tmp_path)["engines"][0]["changed"][0]["path"] == "red/\\udcff\\n.png"


def test_written_and_read_again(scene: Scene, tmp_path: Path) -> None:
    results = whole(scene)
    write_results(results, tmp_path / "results.json")
    assert read_results(tmp_path) == read_results(tmp_path / "results.json") == results


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema": "other/1"}', b"\xff", None])
def test_what_is_no_results_document(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "results.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"results\.json") as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
