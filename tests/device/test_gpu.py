from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgetl.device.gpu import gpus
from tests.backends.tensorrt.bindings import ORIN, FakeGpu, compile_library, fake_driver

ADA = FakeGpu("NVIDIA GeForce RTX 4090", "8.9", 24564, 128, False)
ASK = (
    "import json, time; from dataclasses import asdict; start = time.perf_counter(); "
    "from edgetl.device.gpu import gpus; found = gpus(); seconds = time.perf_counter() - start; "
    "print(json.dumps({'gpus': [asdict(gpu) for gpu in found], 'seconds': seconds}))"
)


def ask(libraries: Path) -> dict[str, object]:
    """What a process answers whose driver lies in that folder."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_every_gpu_of_the_driver_is_described(tmp_path: Path) -> None:
    fake_driver(tmp_path, [ADA, ORIN], "13.0")
    answer = ask(tmp_path)
    assert answer["gpus"] == [
        {
            "name": "NVIDIA GeForce RTX 4090",
            "compute_capability": "8.9",
            "memory_mb": 24564,
            "multiprocessors": 128,
            "integrated": False,
            "driver": "13.0",
        },
        {
            "name": "Orin",
            "compute_capability": "8.7",
            "memory_mb": 7620,
            "multiprocessors": 8,
            "integrated": True,
            "driver": "13.0",
        },
    ]


def test_minor_driver_versions(tmp_path: Path) -> None:
    fake_driver(tmp_path, [ORIN], "12.6")
    found = ask(tmp_path)["gpus"]
    assert isinstance(found, list) and found[0]["driver"] == "12.6"


@pytest.mark.parametrize(
    "library",
    [
        "int cuInit(unsigned flags) { return 100; }",  # a driver and no GPU
        "int cuInit(unsigned flags) { return 0; }",  # not the library its name says
    ],
)
def test_a_driver_that_refuses_is_no_gpu(tmp_path: Path, library: str) -> None:
    compile_library(library, tmp_path / "libcuda.so.1")
    assert ask(tmp_path)["gpus"] == []


def test_a_damaged_driver_is_no_gpu(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(b"not a library")
    assert ask(tmp_path)["gpus"] == []


def test_this_machine() -> None:
    gpus.cache_clear()
    start = time.perf_counter()
    found = gpus()
    assert all(gpu.memory_mb > 0 and gpu.multiprocessors > 0 for gpu in found)
    if not found:
        assert time.perf_counter() - start < 0.05
