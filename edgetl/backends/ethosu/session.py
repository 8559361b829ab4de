"""The integer model before Vela in LiteRT, on the CPU, for an engine that firmware alone can load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgetl.backends.base import (
    Consume,
    EngineSpec,
    Float32,
    Placement,
    Precision,
    Session,
    UInt8,
    failed,
    majority,
)
from edgetl.backends.ethosu.integer import read_integer
from edgetl.backends.litert.session import open_interpreter
from edgetl.contract.stream import usable_cores
from edgetl.errors import BackendError

_ARITHMETIC = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class IntegerSession(Session):
    """One image an inference: pixels less 128 in, logits out by the output's scale and zero point."""

    def __init__(self, engine: Path, spec: EngineSpec) -> None:
        self._spec = spec
        self._interpreter = open_interpreter(engine, spec.threads or usable_cores())
        try:
            self._model = read_integer(engine)
        except BackendError as error:
            raise failed("load", engine, error) from error
        _, height, width, channels = self._model.input.shape
        self.input_shape = (height, width, channels)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def _run(self, images: UInt8) -> Float32:
        return np.concatenate([self._infer(images[i : i + 1]) for i in range(len(images))])

    def _infer(self, image: UInt8) -> Float32:
        # flipping the first bit takes 128 away
        self._interpreter.set_tensor(self._input, (image ^ np.uint8(128)).view(np.int8))
        self._interpreter.invoke()
        integers = self._interpreter.get_tensor(self._output).astype(np.int32)
        end = self._model.output
        logits: Float32 = ((integers - end.zero) * np.float32(end.scale)).astype(np.float32)
        return logits

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        """One after the other: a simulator's throughput is nobody's."""
        for index, images in enumerate(batches):
            consume(index, self.run(images))

    def precision(self) -> Precision:
        layers: Counter[str] = Counter()
        for operator in self._interpreter._get_ops_details():
            if operator["op_name"] in _ARITHMETIC:
                integer = np.dtype(operator["operand_types"][0]) == np.int8
                layers["int8" if integer else "f32"] += 1
        rest = "f32" if self._model.floats else "int8"
        return Precision(self._spec.precision, majority(layers), rest, dict(layers))

    def placement(self) -> Placement:
        return Placement(self._spec.device, 1.0, 1.0)
