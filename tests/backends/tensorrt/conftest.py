"""The chain in TensorRT's dialect, and targets to build it for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetl.backends.base import Calibration
from edgetl.conformance.network import Network
from edgetl.profiles import Recipe, Target
from tests.backends.tensorrt.chain import write_chain


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return write_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="session")
def rtx() -> Any:
    """TensorRT for RTX, which builds without a GPU."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (extra tensorrt-rtx)")
    from edgetl.backends import get_backend

    return get_backend("tensorrt-rtx")


@pytest.fixture(scope="session")
def rtx_target() -> Callable[..., Target]:
    def make(**changes: Any) -> Target:
        base: dict[str, Any] = {
            "name": "tiny-rtx",
            "title": "for tests",
            "backend": "tensorrt-rtx",
            "precision": "int8",
            "float_precision": "f16",
            "machine": "x86_64",
            "compute_capabilities": ("8.6", "8.9", "12.0"),
            "device": "cuda:0",
        }
        return Target(**{**base, **changes})

    return make


@pytest.fixture(scope="session")
def qdq(
    tmp_path_factory: pytest.TempPathFactory,
    chain: Any,
    calibration: Calibration,
    recipe: Recipe,
    rtx_target: Callable[..., Target],
) -> Path:
    """The chain quantized in TensorRT's dialect, its batch dynamic."""
    from edgetl.backends.tensorrt.quantizer import quantize

    out = tmp_path_factory.mktemp("trt") / "qdq.onnx"
    quantize(chain.model, calibration, recipe, rtx_target(), [], out)
    return out
