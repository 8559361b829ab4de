"""An engine for another version or device is refused before TensorRT sees it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgetl.backends.tensorrt.key import BUILD, EngineKey, make_key, read_key, require_usable
from edgetl.errors import BackendError

DATA = b"ptrt" + bytes(200)
ORIN = {"name": "Orin", "compute_capability": "8.7", "driver": "12.6"}


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "model.engine"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def key() -> EngineKey:
    return make_key(DATA, "tensorrt", "10.3.0", ("8.7",), "Orin", "12.6")


def check(engine: Path, key: EngineKey, version: str = "10.3.0", gpus: Any = (ORIN,)) -> None:
    require_usable(engine, key, version, gpus, 0)


def test_usable_where_it_was_built(engine: Path, key: EngineKey) -> None:
    check(engine, key)


def test_survives_its_file(engine: Path, key: EngineKey) -> None:
    assert read_key(engine) is None
    (engine.parent / BUILD).write_text(json.dumps({"key": key.to_dict()}))
    assert read_key(engine) == key
    (engine.parent / BUILD).write_text("{}")
    with pytest.raises(BackendError, match="damaged"):
        read_key(engine)


@pytest.mark.parametrize(
    ("change", "version", "gpus", "said"),
    [
        ({}, "10.16.1", (ORIN,), "built by TensorRT 10.3.0, this is 10.16.1"),
        (
            {},
            "10.3.0",
            ({**ORIN, "compute_capability": "11.0"},),
            "for compute capability 8.7; Orin has 11.0",
        ),
        ({}, "10.3.0", ({**ORIN, "name": "Orin Nano"},), "built on Orin, this is Orin Nano"),
        ({}, "10.3.0", (), "no NVIDIA GPU or driver"),
        ({"platform": "linux-riscv64"}, "10.3.0", (ORIN,), "built on linux-riscv64"),
        ({"bytes": 10_000}, "10.3.0", (ORIN,), "truncated"),
        ({"sha256": "0" * 64}, "10.3.0", (ORIN,), "altered"),
    ],
)
def test_refused(
    engine: Path, key: EngineKey, change: dict[str, Any], version: str, gpus: Any, said: str
) -> None:
    with pytest.raises(BackendError, match=said) as caught:
        check(engine, replace(key, **change), version, gpus)
    assert "\n" not in str(caught.value)


def test_an_engine_for_rtx_runs_on_any_gpu_of_its_kind(engine: Path) -> None:
    key = replace(make_key(DATA, "tensorrt-rtx", "1.7", ("8.6", "8.9"), None, None), platform="windows-amd64")
    check(engine, key, "1.7", ({"name": "RTX 4060", "compute_capability": "8.9"},))
