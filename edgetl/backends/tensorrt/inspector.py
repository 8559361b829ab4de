"""The layers of an engine as its own inspector lists them; needs the engine's GPU."""

from __future__ import annotations

from typing import Any

from edgetl.backends.tensorrt.binding import Binding
from edgetl.backends.tensorrt.failures import explain
from edgetl.backends.tensorrt.layers import LayerReport, parse_inspector
from edgetl.errors import BackendError


def inspect_engine(binding: Binding, serialized: bytes) -> LayerReport:
    """Load an engine and read its layers.

    Raises:
        BackendError: if it can't be loaded here.
    """
    trt = binding.trt
    with binding.recorder.listen() as messages:
        runtime = trt.Runtime(binding.logger)
        engine = runtime.deserialize_cuda_engine(serialized)
        if engine is None:
            raise BackendError(f"cannot load the engine: {explain(messages.errors)}")
        return read_layers(binding, engine)


def read_layers(binding: Binding, engine: Any) -> LayerReport:
    """The layers of a loaded engine."""
    trt = binding.trt
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return LayerReport(parse_inspector(text))
