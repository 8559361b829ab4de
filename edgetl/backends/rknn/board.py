"""Engines on a Rockchip board by rknn-toolkit-lite2. Written against its API; no board was at hand."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import numpy as np

from edgetl.backends.base import Consume, EngineSpec, Float32, Placement, Precision, Session, UInt8
from edgetl.backends.rknn.compiled import placement_of, precision_of, read_report
from edgetl.device.read import read_text
from edgetl.errors import BackendError

_COMPATIBLE = Path("/proc/device-tree/compatible")
_PACKAGE = "rknn-toolkit-lite2"


def obstacle_to(soc: str, compatible: Path = _COMPATIBLE) -> str | None:
    """Why this machine can't run engines for a SoC, by its device tree; None if it can."""
    names = re.findall(r"rockchip,([\w-]+)", read_text(compatible))
    if not names:
        return f"there is no Rockchip NPU here; the engine is for {soc}"
    # an RK3588S is an RK3588 with fewer pins
    if not any(re.fullmatch(rf"{soc}(s\d?)?", name) for name in names):
        return f"this board's SoC is {names[-1]}; the engine is for {soc}"
    if util.find_spec("rknnlite") is None:
        return f"{_PACKAGE} is not installed; install it with: pip install {_PACKAGE}"
    return None


class BoardSession(Session):
    """A ``.rknn`` on the NPU it was compiled for.

    Raises:
        BackendError: if the runtime refuses it.
    """

    def __init__(self, engine: Path, spec: EngineSpec) -> None:
        from rknnlite.api import RKNNLite

        facts = read_report(engine)
        self._engine, self._spec = engine, spec
        self._layers = facts["layers"]
        self._batch, *size = facts["input"]
        self.input_shape = tuple(size)
        self._runtime = RKNNLite()
        self._believe("read", self._runtime.load_rknn(str(engine)))
        self._believe("start", self._runtime.init_runtime())

    def _believe(self, verb: str, status: int | None) -> None:
        if status != 0:
            raise BackendError(f"{_PACKAGE} cannot {verb} {self._engine.name} (status {status})")

    def _run(self, images: UInt8) -> Float32:
        if len(images) != self._batch:
            raise BackendError(f"engine has a fixed batch of {self._batch}, got {len(images)} images")
        with contextlib.redirect_stdout(io.StringIO()):
            outputs = self._runtime.inference(inputs=[np.ascontiguousarray(images)], data_format=["nhwc"])
        if not outputs:
            raise BackendError(f"{_PACKAGE} gave no answer for {self._engine.name}")
        return np.asarray(outputs[0], np.float32).reshape(len(images), -1)

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        for index, images in enumerate(batches):
            consume(index, self.run(images))

    def precision(self) -> Precision:
        """As the compiler told it; the runtime tells nothing."""
        return precision_of(self._layers, self._spec)

    def placement(self) -> Placement:
        """As the compiler told it; the runtime tells nothing."""
        return placement_of(self._layers)
