"""One engine at work: the standard library and NumPy, so that it runs on the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import (
    Consume,
    EngineSpec,
    Float32,
    Placement,
    Precision,
    Session,
    UInt8,
    image_shape,
    majority,
)
from edgetl_numpy.operators import OPERATORS, Array, Value, floats, in_integers

_PRODUCTS = ("Conv", "Gemm")


class NumpySession(Session):
    def __init__(
        self, engine: Path, spec: EngineSpec, program: Mapping[str, Any], constants: Mapping[str, Array]
    ) -> None:
        self._spec = spec
        self._program = program
        self._constants = constants
        self.input_shape = image_shape(program["shape"], program["type"], engine)

    def _run(self, images: UInt8) -> Float32:
        return self._execute(images)[0]

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        for index, images in enumerate(batches):
            consume(index, self._run(images))

    def precision(self) -> Precision:
        """Of the products as they were computed for a black picture."""
        _, layers = self._execute(np.zeros((1, *self.input_shape), np.uint8))
        return Precision(self._spec.precision, majority(layers), "f32", dict(layers))

    def placement(self) -> Placement:
        return Placement(self._spec.device, 1.0, 1.0)

    def _execute(self, images: UInt8) -> tuple[Float32, Counter[str]]:
        """Logits, and how many products were summed in which precision."""
        values: dict[str, Value] = {**self._constants, self._program["input"]: images}
        layers: Counter[str] = Counter()
        for step in self._program["steps"]:
            inputs = [values[name] for name in step["inputs"]]
            if step["operator"] in _PRODUCTS:
                layers["int8" if in_integers(inputs) else "f32"] += 1
            values[step["output"]] = OPERATORS[step["operator"]](inputs, **step["attributes"])
        return np.asarray(floats(values[self._program["output"]]), np.float32), layers
