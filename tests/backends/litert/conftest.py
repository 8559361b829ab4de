"""Pictures for the small networks, and their quantization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgetl.backends.base import Calibration
from edgetl.backends.litert import LiteRtBackend
from edgetl.profiles import Recipe
from tests.backends.litert.networks import SIDE, TARGET


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Six noisy gradients, ``uint8 [6, 17, 17, 3]``."""
    rng = np.random.default_rng(3)
    slope = np.linspace(0, 1, SIDE)[:, None, None] * rng.uniform(20, 120, (6, 1, 1, 3))
    pixels = rng.uniform(0, 120, (6, 1, 1, 3)) + slope + rng.normal(0, 12, (6, SIDE, SIDE, 3))
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture
def quantize(tmp_path: Path, pictures: np.ndarray) -> Callable[..., onnx.ModelProto]:
    def make(model: onnx.ModelProto, activations: str = "auto", keep: Any = ()) -> onnx.ModelProto:
        plain, out = tmp_path / "float.onnx", tmp_path / "int8.onnx"
        plain.write_bytes(model.SerializeToString())
        recipe = Recipe(name="tiny", title="for tests", images=6, activations=activations)
        calibration = Calibration(lambda: (image[None] for image in pictures), len(pictures))
        LiteRtBackend().quantize(plain, calibration, recipe, TARGET, list(keep), out)
        return onnx.load(out)

    return make
