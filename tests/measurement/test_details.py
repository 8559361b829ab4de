"""What a bench tells besides accuracy, latency and throughput: on a real engine, as quick as it goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Dataset
from edgetl.engines import Engine, Standing
from edgetl.errors import InputError
from edgetl.measurement.details import Subject, Wanted, contradictions, measure_details


@pytest.fixture(scope="module")
def engine(kits: Callable[[str], Any]) -> Engine:
    kit = kits("openvino")
    folder = kit.int8_engine.parent
    return Engine("tiny", kit.spec, folder, "d" * 64, kit.int8_model, Standing("measured", True))


def subject_of(
    engine: Engine, contract: Contract, images: list[Path], against: Engine | None = None
) -> Subject:
    image = np.zeros(contract.input_shape, np.uint8)
    return Subject(engine, contract, image, images, against)


def test_everything_usual_is_told(engine: Engine, contract: Contract, dataset: Dataset) -> None:
    pictures = [sample.path for sample in dataset.train[:4]]
    found = measure_details(Context(), subject_of(engine, contract, pictures), Wanted(seconds=0.1))
    assert found["not_measured"] == []
    assert set(found) == {"threads", "cold_start", "multi_stream", "end_to_end", "energy", "not_measured"}
    assert found["cold_start"]["load_ms"]["n"] == 5
    assert found["multi_stream"]["samples_per_query"] == 8
    assert found["end_to_end"]["ratio"]["value"] > 1
    assert found["energy"]["sensors"] or found["energy"]["absent"]


def test_what_is_asked_for_besides(engine: Engine, contract: Contract) -> None:
    wanted = Wanted(brief=True, seconds=0.1, minutes=0.02)
    found = measure_details(Context(), subject_of(engine, contract, [], engine), wanted)
    assert found["not_measured"] == []
    assert set(found) == {"threads", "sustained", "against", "not_measured"}
    assert found["against"]["digest"] == engine.digest
    assert found["against"]["ratio"]["value"] == pytest.approx(1, abs=0.5)
    assert sum(window["n"] for window in found["sustained"]["windows"]) > 10


def test_one_that_fails_leaves_the_others_alone(engine: Engine, contract: Contract, tmp_path: Path) -> None:
    broken = tmp_path / "a.jpg"
    broken.write_bytes(b"no picture")
    found = measure_details(Context(), subject_of(engine, contract, [broken]), Wanted(seconds=0.1))
    assert "end_to_end" not in found and "multi_stream" in found
    [line] = found["not_measured"]
    assert line.startswith("end to end: ") and "can be decoded" in line


@pytest.mark.parametrize("wrong", [{"seconds": 0.0}, {"seconds": float("nan")}, {"minutes": 0.0}])
def test_durations_are_positive(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be positive"):
        Wanted(**wrong)  # type: ignore[arg-type]


def test_later_figures_that_contradict_the_latency_are_told() -> None:
    def median(value: float) -> dict[str, Any]:
        return {"value": value, "low": None, "high": None, "n": 100, "kind": "measured"}

    details = {
        "end_to_end": {"engine_only": {"p50": median(1.8)}},
        "sustained": {"first": {"p50_ms": median(6.2)}},
        "reconciliation": {"ours_ms": median(2.1)},
    }
    ended, reconciled = contradictions(6.4, 560.0, details)
    assert ended == "not steady: p50 was 6.400 ms, and 1.800 ms when it was taken again (end to end)"
    assert "2.100 ms" in reconciled
    [slow] = contradictions(1.8, 363.0, {})
    assert slow == "not steady: 363 images/s with more than one in flight, 556 one by one"
    assert contradictions(2.0, 480.0, {"reconciliation": {"ours_ms": median(2.2)}}) == []
