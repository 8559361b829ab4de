"""Whose numbers a bench's are; the measuring itself is tested end to end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl import profiles
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Sample
from edgetl.engines import Engine, Standing, best_target, this_machine
from edgetl.errors import InputError
from edgetl.findings import Findings, _standing
from edgetl.measurement import stage
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.stage import Speed, measure_accuracy
from edgetl.store import Store
from tests.conftest import Kit

SPEED = Speed(None, None, {"used": "int8"}, {"device": "CPU"}, {}, "2026-01-01T00:00:00+00:00")


def test_numbers_of_another_machine_are_said_to_be() -> None:
    context = Context()
    other = "arm64-cpu" if this_machine() == "x86_64" else "x86-vnni"
    found = _standing(context, profiles.target(other))
    assert (found.kind, found.latency) == ("measured", True)
    assert found.reason is not None
    assert found.reason.startswith(f"this machine is {this_machine()}, the target is ")
    assert found.reason.endswith(f"; these numbers are this machine's, not {other}'s")
    assert _standing(context, profiles.target(best_target(context.environment))).reason is None
    assert _standing(context, None) == Standing("measured", True)


def test_an_emulated_machine_times_nothing() -> None:
    context = Context()
    context.environment = {**context.environment, "emulated": "qemu-aarch64"}  # type: ignore[misc]
    found = _standing(context, profiles.target(best_target(context.environment)))
    assert (found.kind, found.latency) == ("simulated", False)
    assert found.reason is not None and "emulated by qemu-aarch64" in found.reason


def findings(predictions: Predictions | None) -> Findings:
    return Findings({"machine": "x"}, "f", Standing("measured", True), predictions, SPEED, {"threads": {}})


def test_they_travel_as_json_with_the_logits_beside() -> None:
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    sent = findings(Predictions((0, 2, 3), logits, {"d" * 64: "truncated"}))
    back = Findings.from_dict(sent.to_dict(), logits)
    assert back.predictions is not None and back.predictions.rows == (0, 2, 3)
    assert back.predictions.unreadable == {"d" * 64: "truncated"}
    assert (back.standing, back.machine, back.details) == (sent.standing, "f", {"threads": {}})
    assert Findings.from_dict(findings(None).to_dict(), None).predictions is None


@pytest.mark.parametrize(
    "change",
    [
        {"predictions": {"rows": [0], "unreadable": {}}},
        {"predictions": {"rows": ["x", 1, 2], "unreadable": {}}},
        {"predictions": {"rows": [0, 1, 2]}},
        {"standing": {"kind": "measured"}},
        {"speed": {}},
        {"environment": 3},
    ],
)
def test_what_is_no_findings_is_refused(change: dict[str, Any]) -> None:
    logits = np.zeros((3, 2), np.float32)
    facts = findings(Predictions((0, 1, 2), logits, {})).to_dict()
    with pytest.raises((KeyError, TypeError, ValueError)):
        Findings.from_dict({**facts, **change}, logits)


def test_logits_of_another_form_are_refused() -> None:
    facts = findings(Predictions((0,), np.zeros((1, 2), np.float32), {})).to_dict()
    for wrong in (np.zeros((1, 2)), np.zeros(2, np.float32), np.zeros((2, 2), np.float32)):
        with pytest.raises(ValueError, match="logits"):
            Findings.from_dict(facts, wrong)


@pytest.fixture
def engine(kits: Callable[[str], Kit]) -> Engine:
    kit = kits("onnxruntime")
    return Engine("tiny", kit.spec, kit.int8_engine.parent, "0", kit.int8_model, Standing("measured", True))


def test_a_file_that_is_gone_for_a_moment_is_no_damaged_image(
    engine: Engine, samples: tuple[Sample, ...], contract: Contract, tmp_path: Path
) -> None:
    own = [
        Sample(shutil.copy(each.path, tmp_path / each.digest), each.label, each.digest) for each in samples
    ]
    context = Context(Store(tmp_path / "store"))
    away = own[3].path.rename(tmp_path / "away")
    with pytest.raises(InputError, match=rf"{own[3].digest} cannot be read: No such file"):
        measure_accuracy(context, engine, own, contract)
    away.rename(own[3].path)
    own[4].path.write_bytes(own[4].path.read_bytes()[:60])
    found = measure_accuracy(context, engine, own, contract)
    assert list(found.unreadable) == [own[4].digest] and len(found.rows) == len(own) - 1


def test_another_pillow_reads_the_images_anew(
    engine: Engine,
    samples: tuple[Sample, ...],
    contract: Contract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = Context(Store(tmp_path / "store"))
    for entries, version in ((1, "12.0"), (1, "12.0"), (2, "12.1")):
        monkeypatch.setattr(stage, "version_of", {"pillow": version}.get, raising=False)
        measure_accuracy(context, engine, samples[:4], contract)
        assert context.store.usage()["accuracy"][0] == entries
