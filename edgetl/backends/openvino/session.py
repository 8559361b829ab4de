"""One engine in OpenVINO, with its precision and placement read back from the compiled model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
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
    LayerTime,
    Placement,
    Precision,
    Session,
    UInt8,
    failed,
    image_shape,
    majority,
)
from edgetl.backends.openvino.counters import layer_times, read_counters
from edgetl.backends.openvino.devices import (
    ALLOW,
    CPU,
    NPU,
    composite,
    family,
    members,
    require_one_device,
    require_present,
)
from edgetl.errors import BackendError

_PRECISIONS = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16}
_NAMES = {"u8": "int8", "i8": "int8"}
_ARITHMETIC = {"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul", "Gemm"}
_NOT_EXECUTED = ("Parameter", "Result", "Constant")


class OpenVinoSession(Session):
    def __init__(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> None:
        require_one_device(spec.device, spec.options)
        require_present(spec.device)
        core = ov.Core()
        self._nodes: dict[str, str] = {}
        try:
            if engine.suffix == ".blob":
                self._compiled = core.import_model(engine.read_bytes(), spec.device, dict(_own_options(spec)))
            else:
                network = _read(core, engine)
                self._compiled = core.compile_model(network, spec.device, _config(core, spec, throughput))
                self._nodes = _planned(core, network, spec.device)
        except RuntimeError as error:
            raise failed("load", engine, error) from error
        self._engine = engine
        self._spec = spec
        shape = [int(size) for size in self._compiled.input().shape]
        self._batch = shape[0]
        self.input_shape = image_shape(shape, str(self._compiled.input().element_type), engine)
        self._request = self._compiled.create_infer_request()
        self._input = self._request.get_input_tensor().data
        self._output = self._request.get_output_tensor().data
        self._refuse_other_device()
        if family(spec.device) == CPU:
            self.threads = int(self._compiled.get_property(props.inference_num_threads))

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
        """By the arithmetic nodes of the compiled model; ``unknown`` where a plugin keeps them to itself."""
        layers: Counter[str] = Counter()
        for node in _layers(self._compiled).values():
            if node["layerType"] in _ARITHMETIC:
                layers[_NAMES.get(node["runtimePrecision"], node["runtimePrecision"])] += 1
        return Precision(self._spec.precision, majority(layers), self._float_part(layers), dict(layers))

    def _float_part(self, layers: Mapping[str, int]) -> str:
        """As the plugin says, else by the layers that are not quantized."""
        try:
            told = self._compiled.get_property(hints.inference_precision)
        except RuntimeError:
            return next((name for name in sorted(layers) if name != "int8"), "unknown")
        return next((name for name, kind in _PRECISIONS.items() if kind == told), str(told))

    def placement(self) -> Placement:
        """By the devices the compiled model runs on.

        Where OpenVINO was allowed to choose for each node, the shares are those of the nodes and of the time
        of their layers.
        """
        ran = _ran_on(self._compiled)
        device, wanted = ",".join(ran), next(iter(members(self._spec.device)), ran[0])
        if self._nodes:
            elsewhere = [
                f"{name} on {place}" for name, place in self._nodes.items() if not _on(place, wanted)
            ]
            share = 1 - len(elsewhere) / len(self._nodes)
            return Placement(
                device, share, self._share_of_time(wanted) if elsewhere else 1.0, tuple(elsewhere)
            )
        here = all(_on(name, wanted) for name in ran)
        return Placement(device, float(here), float(here), () if here else tuple(ran))

    def _share_of_time(self, wanted: str) -> float | None:
        total = sum(layer.ms for layer in self._times)
        here = sum(layer.ms for layer in self._times if _on(layer.device, wanted))
        return here / total if total else None

    def layer_times(self) -> tuple[LayerTime, ...]:
        """By OpenVINO's counters, in whole microseconds; none for an engine compiled beforehand (.blob).

        The network is compiled once more, as for latency, and runs on black pictures.

        Raises:
            BackendError: if it can't be compiled with counters.
        """
        return self._times

    @cached_property
    def _times(self) -> tuple[LayerTime, ...]:
        if self._engine.suffix == ".blob":
            return ()
        core, device = ov.Core(), self._spec.device
        config = {**_config(core, self._spec, throughput=False), props.enable_profiling: True}
        try:
            compiled = core.compile_model(_read(core, self._engine), device, config)
            black = np.zeros((self._batch, *self.input_shape), np.uint8)
            readings, warm = read_counters(compiled.create_infer_request(), black)
            facts, ran = _layers(compiled), _ran_on(compiled)
        except RuntimeError as error:
            raise failed("profile", self._engine, error) from error
        return layer_times(readings, warm, facts, self._nodes, ",".join(ran))

    def _refuse_other_device(self) -> None:
        if composite(self._spec.device):
            return
        if (placement := self.placement()).elsewhere:
            raise BackendError(f"asked for {self._spec.device}, OpenVINO runs on {placement.device}")


def _ran_on(compiled: Any) -> list[str]:
    return [str(name).strip("()") for name in compiled.get_property(props.execution_devices)]


def _layers(compiled: Any) -> dict[str, dict[str, str]]:
    """Facts of each layer of a compiled model, by its name."""
    keys = ("layerType", "runtimePrecision", "originalLayersNames")
    found = {}
    for operation in compiled.get_runtime_model().get_ops():
        info = operation.get_rt_info()
        facts = {key: info[key].astype(str) if key in info else "" for key in keys}
        found[operation.get_friendly_name()] = facts
    return found


def _read(core: Any, engine: Path) -> Any:
    """The network of an IR or ONNX file, for one image where its batch is not fixed."""
    network = core.read_model(engine)
    if network.input().partial_shape[0].is_dynamic:
        network.reshape([1, *list(network.input().partial_shape)[1:]])
    return network


def _planned(core: Any, network: Any, device: str) -> dict[str, str]:
    """The device of each node that is executed, where several share one network; empty elsewhere."""
    if not device.startswith("HETERO"):
        return {}
    places = core.query_model(network, device)
    nodes = [node for node in network.get_ops() if node.get_type_name() not in _NOT_EXECUTED]
    return {name: places.get(name, "no device") for name in (node.get_friendly_name() for node in nodes)}


def _on(device: str, wanted: str) -> bool:
    """Whether a device is the one wanted; ``GPU`` stands for the first of several."""
    return device == wanted or family(device) == wanted


def _config(core: Any, spec: EngineSpec, throughput: bool) -> dict[str, Any]:
    mode = hints.PerformanceMode.THROUGHPUT if throughput else hints.PerformanceMode.LATENCY
    config: dict[str, Any] = {hints.performance_mode: mode}
    if spec.float_precision in _PRECISIONS and _has_choice(core, spec.device):
        config[hints.inference_precision] = _PRECISIONS[spec.float_precision]
    if spec.threads:
        config[props.inference_num_threads] = spec.threads
    return {**config, **_own_options(spec)}


def _has_choice(core: Any, device: str) -> bool:
    """Whether a device is told its float precision; an NPU whose compiler takes no such word has one only."""
    return family(device) != NPU or "INFERENCE_PRECISION_HINT" in core.get_property(
        device, props.supported_properties
    )


def _own_options(spec: EngineSpec) -> dict[str, Any]:
    """The options that are OpenVINO's."""
    return {name: value for name, value in spec.options.items() if name != ALLOW}


def _padded(images: UInt8, batch: int) -> UInt8:
    if len(images) == batch:
        return images
    filler = np.zeros((batch - len(images), *images.shape[1:]), np.uint8)
    return np.concatenate([images, filler])
