"""The toolkit's INT8 simulator on a portable ONNX, in child processes."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from edgetl.backends.base import Consume, EngineSpec, Float32, Placement, Precision, Session, UInt8
from edgetl.backends.pooled import run_pooled
from edgetl.backends.rknn.compiled import precision_of, read_layers
from edgetl.backends.rknn.toolkit import Toolkit, toolkit
from edgetl.contract.stream import usable_cores
from edgetl.errors import BackendError

SIMULATOR = "simulator"
_TOGETHER = 16
"""Images in one request: files and pipes cost little then, and a deadline is still near."""


class SimulatorSession(Session):
    """A model compiled for a SoC and simulated; each child holds one.

    Args:
        spec: its option ``soc`` names the SoC.
    """

    def __init__(self, model: Path, spec: EngineSpec, *, throughput: bool = False) -> None:
        self._model, self._spec = model, spec
        self._idle: SimpleQueue[Toolkit] = SimpleQueue()
        self._count = usable_cores() if throughput else 1
        soc = str(spec.options["soc"])
        with contextlib.ExitStack() as resources, ThreadPoolExecutor(self._count) as pool:
            children = [resources.enter_context(toolkit()) for _ in range(self._count)]
            answers = list(pool.map(lambda child: child.open(model, soc), children))
            for child in children:
                self._idle.put(child)
            self._free = weakref.finalize(self, resources.pop_all().close)
        self._layers = read_layers(answers[0]["report"])
        self._batch, *size = answers[0]["input"]
        self.input_shape = tuple(size)

    def close(self) -> None:
        """Stop the children now; they are stopped with the session at the latest."""
        self._free()

    def _run(self, images: UInt8) -> Float32:
        if len(images) % self._batch:
            raise BackendError(f"engine has a fixed batch of {self._batch}, got {len(images)} images")
        if not self._free.alive:
            raise BackendError(f"{self._model.name} was closed")
        child = self._idle.get()
        try:
            return child.run(images)
        finally:
            self._idle.put(child)

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        def consume_group(number: int, answers: list[Float32]) -> None:
            for offset, logits in enumerate(answers):
                consume(number * _TOGETHER + offset, logits)

        groups = iter(lambda: list(islice(batches, _TOGETHER)), [])
        run_pooled(self._run_group, groups, self._count, consume_group)

    def _run_group(self, group: list[UInt8]) -> list[Float32]:
        """Several batches in one request."""
        logits = self.run(np.concatenate(group))
        ends = np.cumsum([len(images) for images in group])[:-1]
        return np.split(logits, ends)

    def precision(self) -> Precision:
        return precision_of(self._layers, self._spec)

    def placement(self) -> Placement:
        return Placement(SIMULATOR, 1.0, None)
