"""One engine in OpenVINO, with its precision and placement read back from the compiled model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.properties as props
import openvino.properties.hint as hints

from edgetl.backends.base import (
    Consume,
    EngineSpec,
    Float32,
    Placement,
    Precision,
    Session,
    UInt8,
    failed,
    image_shape,
    majority,
)
from edgetl.errors import BackendError

_PRECISIONS = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16}
_NAMES = {"u8": "int8", "i8": "int8"}
_ARITHMETIC = {"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul"}


class OpenVinoSession(Session):
    def __init__(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> None:
        core = ov.Core()
        try:
            network = core.read_model(engine)
            if network.input().partial_shape[0].is_dynamic:
                network.reshape([1, *list(network.input().partial_shape)[1:]])
            self._compiled = core.compile_model(network, spec.device, _config(spec, throughput))
        except RuntimeError as error:
            raise failed("load", engine, error) from error
        self._spec = spec
        shape = [int(size) for size in self._compiled.input().shape]
        self._batch = shape[0]
        self.input_shape = image_shape(shape, str(self._compiled.input().element_type), engine)
        self._request = self._compiled.create_infer_request()
        self._input = self._request.get_input_tensor().data
        self._output = self._request.get_output_tensor().data
        self._refuse_other_device()

    def _run(self, images: UInt8) -> Float32:
        if len(images) == self._batch:
            return self._infer(images)
        chunks = [images[start : start + self._batch] for start in range(0, len(images), self._batch)]
        return np.concatenate([self._infer(_padded(chunk, self._batch))[: len(chunk)] for chunk in chunks])

    def _infer(self, images: UInt8) -> Float32:
        self._input[:] = images
        self._request.infer()
        output: Float32 = self._output.copy()
        return output

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        # twice as many requests as streams: a stream never waits for the caller's next image
        queue = ov.AsyncInferQueue(
            self._compiled, 2 * self._compiled.get_property(props.optimal_number_of_infer_requests)
        )

        def finished(request: Any, tag: tuple[int, int]) -> None:
            index, rows = tag
            consume(index, request.get_output_tensor().data[:rows].copy())

        queue.set_callback(finished)
        try:
            for index, images in enumerate(batches):
                queue.start_async({0: _padded(images, self._batch)}, (index, len(images)))
        finally:
            queue.wait_all()

    def precision(self) -> Precision:
        layers: Counter[str] = Counter()
        for node in self._executed():
            if node["layerType"] in _ARITHMETIC:
                layers[_NAMES.get(node["runtimePrecision"], node["runtimePrecision"])] += 1
        asked_type = self._compiled.get_property(hints.inference_precision)
        rest = next((name for name, kind in _PRECISIONS.items() if kind == asked_type), str(asked_type))
        return Precision(self._spec.precision, majority(layers), rest, dict(layers))

    def placement(self) -> Placement:
        devices = [str(device).strip("()") for device in self._compiled.get_property(props.execution_devices)]
        device = ",".join(devices)
        wanted = self._spec.device.split(".")[0]
        if wanted in ("AUTO", "MULTI", "HETERO") or wanted.split(":")[0] in ("AUTO", "MULTI", "HETERO"):
            return Placement(device, 1.0, 1.0)
        here = all(name.split(".")[0] == wanted for name in devices)
        return Placement(device, float(here), float(here), () if here else tuple(devices))

    def _refuse_other_device(self) -> None:
        placement = self.placement()
        if placement.elsewhere:
            raise BackendError(f"asked for {self._spec.device}, OpenVINO runs on {placement.device}")

    def _executed(self) -> Iterator[dict[str, str]]:
        """Facts of each node that the plugin executes."""
        for operation in self._compiled.get_runtime_model().get_ops():
            info = operation.get_rt_info()
            yield {
                key: info[key].astype(str) if key in info else ""
                for key in ("layerType", "runtimePrecision", "primitiveType")
            }


def _config(spec: EngineSpec, throughput: bool) -> dict[str, Any]:
    mode = hints.PerformanceMode.THROUGHPUT if throughput else hints.PerformanceMode.LATENCY
    config: dict[str, Any] = {hints.performance_mode: mode}
    if spec.float_precision in _PRECISIONS:
        config[hints.inference_precision] = _PRECISIONS[spec.float_precision]
    if spec.threads:
        config[props.inference_num_threads] = spec.threads
    return {**config, **spec.options}


def _padded(images: UInt8, batch: int) -> UInt8:
    if len(images) == batch:
        return images
    filler = np.zeros((batch - len(images), *images.shape[1:]), np.uint8)
    return np.concatenate([images, filler])
