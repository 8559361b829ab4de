"""TensorRT's own clock for single layers."""

from __future__ import annotations

from typing import Any


def make_profiler(trt: Any) -> Any:
    """An ``IProfiler`` of the module ``trt``, with ``totals``: ms of each layer by name, in their order."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.totals: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.totals[layer_name] = self.totals.get(layer_name, 0.0) + ms

    return Profiler()
