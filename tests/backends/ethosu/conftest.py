"""Integer models made by hand, and a target for them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.profiles import Target

BUILD: dict[str, Any] = {
    "accelerator": "ethos-u55-128",
    "system_config": "Ethos_U55_High_End_Embedded",
    "memory_mode": "Shared_Sram",
}


def target(build: dict[str, Any] | None = None, **changes: Any) -> Target:
    """A target with some of its build settings changed; None takes one out."""
    settings = {name: value for name, value in {**BUILD, **(build or {})}.items() if value is not None}
    fields = {"name": "u55", "title": "for tests", "backend": "ethosu", "precision": "int8"}
    return Target(**{**fields, "machine": "cortex-m", "build": settings, **changes})


@pytest.fixture(autouse=True)
def toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips where Vela or LiteRT is absent; logs of failures stay in the test's own folder."""
    for package in ("ethosu", "ai_edge_litert"):
        if util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (extra ethosu)")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def handmade(tmp_path: Path) -> Callable[..., Path]:
    """Writes a convolution with another operator on top: ``int8 [1, 16, 16, 3]`` to ``[1, 16, 16, 4]``."""
    import ai_edge_litert.schema_py_generated as schema

    from edgetl.backends.litert.flatbuffer import Flatbuffer, Scales

    def make(operator: str = "RELU", kind: str = "int8", output: str = "out") -> Path:
        made = Flatbuffer()
        scale = Scales(np.float32([0.05]), np.int64([-128]))
        weights = np.random.default_rng(0).integers(-127, 127, (4, 3, 3, 3), np.int8)
        channels = np.zeros(4, np.int64)
        image = made.tensor("image", [1, 16, 16, 3], "int8", scale)
        kernel = made.tensor("kernel", weights.shape, "int8", Scales(np.full(4, 0.01), channels), weights)
        bias = made.tensor("bias", [4], "int32", Scales(np.full(4, 0.0005), channels), np.zeros(4, np.int32))
        middle = made.tensor("middle", [1, 16, 16, 4], "int8", scale)
        last = made.tensor(output, [1, 16, 16, 4], kind, scale if kind == "int8" else None)
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        made.operator("CONV_2D", [image, kernel, bias], [middle], options)
        made.operator(operator, [middle], [last])
        path = tmp_path / f"{operator.lower()}.tflite"
        path.write_bytes(made.finish([image], [last]))
        return path

    return make
