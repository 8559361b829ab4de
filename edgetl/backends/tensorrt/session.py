"""One engine in TensorRT: page-locked buffers, one recorded graph an inference, several of them in flight."""

from __future__ import annotations

import json
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.backends.base import (
    Consume,
    EngineSpec,
    Float32,
    LayerTime,
    Placement,
    Precision,
    Session,
    UInt8,
)
from edgetl.backends.profiling import profiled_runs, warm_up
from edgetl.backends.tensorrt.binding import Binding
from edgetl.backends.tensorrt.cuda import Cuda
from edgetl.backends.tensorrt.failures import explain
from edgetl.backends.tensorrt.key import BUILD
from edgetl.backends.tensorrt.lane import Lane
from edgetl.backends.tensorrt.profiler import make_profiler
from edgetl.backends.tensorrt.settings import device_index, run_options
from edgetl.backends.tensorrt.tensors import read_tensors
from edgetl.errors import BackendError

if TYPE_CHECKING:
    from edgetl.backends.tensorrt.layers import LayerReport


class TensorRtSession(Session):
    """An engine on one GPU, used by one thread at a time.

    Options of the spec: ``cuda_graph`` (default true) repeats an inference as one recorded graph;
    ``contexts`` (default 2) is how many inferences are in flight in throughput mode.

    Attributes:
        device_memory_bytes: activation memory that each inference in flight takes on the GPU.
    """

    def __init__(self, path: Path, spec: EngineSpec, binding: Binding, *, throughput: bool = False) -> None:
        use_graph, contexts = run_options(spec.options)
        # before any of TensorRT: without a driver its runtime ends the process
        self._cuda = Cuda(device_index(spec.device), binding.backend)
        self._path = path
        self._spec = spec
        self._binding = binding
        self._build = _read_json(path.parent / BUILD)
        dla_core = self._build.get("settings", {}).get("dla_core")
        self._engine = engine = _load(path, binding, dla_core)
        self._tensors = read_tensors(path, binding, engine)
        self.input_shape = self._tensors.image
        self.device_memory_bytes = int(engine.device_memory_size_v2)
        self.notes: list[str] = []
        with ExitStack() as resources:
            self._lanes = [
                self._open_lane(resources, use_graph) for _ in range(contexts if throughput else 1)
            ]
            self._free = weakref.finalize(self, resources.pop_all().close)

    def close(self) -> None:
        """Free the engine's memory now; it is freed with the session at the latest."""
        self._free()
        self._lanes = []
        self._engine = None

    def _open_lane(self, resources: ExitStack, use_graph: bool) -> Lane:
        return Lane(
            self._cuda,
            self._binding,
            self._engine,
            self._tensors,
            resources,
            use_graph=use_graph,
            notes=self.notes,
        )

    def _run(self, images: UInt8) -> Float32:
        self._prepare(len(images))
        lane = self._lanes[0]
        lane.submit(images)
        return lane.collect()

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        idle = deque(self._lanes)
        flying: deque[tuple[int, Lane]] = deque()

        def land() -> None:
            index, lane = flying.popleft()
            idle.append(lane)
            consume(index, lane.collect())

        try:
            for index, images in enumerate(batches):
                self._prepare(len(images))
                if not idle:
                    land()
                flying.append((index, idle.popleft()))
                flying[-1][1].submit(images)
            while flying:
                land()
        finally:
            for _, lane in flying:  # an error is on its way: leave nothing in flight behind
                lane.wait()

    def _prepare(self, rows: int) -> None:
        """An open engine that takes this many images, on this thread."""
        if not self._free.alive:
            raise BackendError(f"{self._path.name} was closed")
        least, most = self._tensors.least, self._tensors.most
        if not least <= rows <= most:
            takes = f"a fixed batch of {most}" if least == most else f"batches of {least} to {most}"
            raise BackendError(f"engine has {takes}, got {rows} images")
        self._cuda.use()

    def precision(self) -> Precision:
        nodes = self._build.get("demands", {}).get("nodes", ())
        return self._layers().precision(self._spec.precision, self._spec.float_precision, nodes)

    def placement(self) -> Placement:
        """Shares of the engine's layers; those of an engine for a DLA are its builder's word."""
        from edgetl.backends.tensorrt.make import read_proof

        if self._build.get("settings", {}).get("dla_core") is not None:
            proof = read_proof(self._path)
            if proof is not None and proof.placement is not None:
                return proof.placement
        layers = self._layers().layers
        elsewhere = tuple(step.name for step in layers if step.kind == "DLA")
        share = 1 - len(elsewhere) / len(layers)
        return Placement(self._cuda.name, share, None if elsewhere else 1.0, elsewhere)

    def _layers(self) -> LayerReport:
        """As the loaded engine tells, or else as its builder did."""
        from edgetl.backends.tensorrt.inspector import read_layers
        from edgetl.backends.tensorrt.layers import LayerReport
        from edgetl.backends.tensorrt.make import LAYERS

        self._prepare(self._tensors.most)
        try:
            return read_layers(self._binding, self._engine)
        except BackendError:
            recorded = _read_json(self._path.parent / LAYERS)
            if not recorded:
                raise
            return LayerReport.from_dict(recorded)

    def layer_times(self) -> tuple[LayerTime, ...]:
        """Means by TensorRT's own profiler, over inferences of black pictures.

        Layers are timed apart and without a graph, so their sum is more than an inference takes.

        Raises:
            BackendError: if an inference fails.
        """
        self._prepare(self._tensors.most)
        black = np.zeros((self._tensors.most, *self.input_shape), np.uint8)
        profiler = make_profiler(self._binding.trt)
        with ExitStack() as resources:
            lane = self._open_lane(resources, use_graph=False)

            def infer() -> None:
                lane.submit(black)
                lane.collect()

            warm_up(infer)
            lane.attach(profiler)
            runs = profiled_runs(infer)
        return self._timed({name: total / runs for name, total in profiler.totals.items()})

    def _timed(self, milliseconds: Mapping[str, float]) -> tuple[LayerTime, ...]:
        """With what the layer report says of each; ``unknown`` where there is none."""
        from edgetl.backends.tensorrt.layers import computes_in

        try:
            told = {step.name: step for step in self._layers().layers}
        except BackendError:
            told = {}
        times = []
        for name, ms in milliseconds.items():
            step = told.get(name)
            nodes, kind = (step.onnx_nodes, step.kind) if step else ((), "unknown")
            precision = computes_in(step) if step else "unknown"
            place = "DLA" if kind == "DLA" else self._cuda.name
            times.append(LayerTime(name, nodes, kind, place, precision, ms))
        return tuple(times)


def _read_json(path: Path) -> dict[str, Any]:
    """What is recorded beside an engine; empty for somebody else's engine."""
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BackendError(f"{path.name} is damaged, build the engine again: {error}") from error
    return found


def _load(path: Path, binding: Binding, dla_core: int | None) -> Any:
    trt = binding.trt
    try:
        serialized = path.read_bytes()
    except OSError as error:
        raise BackendError(f"cannot load {path.name}: {error.strerror}") from error
    with binding.recorder.listen() as messages:
        runtime = trt.Runtime(binding.logger)
        if dla_core is not None:
            runtime.DLA_core = dla_core
        engine = runtime.deserialize_cuda_engine(serialized)
        if engine is None:
            raise BackendError(f"cannot load {path.name}: {explain(messages.errors)}")
    return engine
