"""One inference in flight: an execution context with its own stream, buffers and recorded graph."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from edgetl.backends.base import Float32, UInt8
from edgetl.backends.tensorrt.binding import Binding
from edgetl.backends.tensorrt.cuda import Cuda, Graph
from edgetl.backends.tensorrt.failures import explain
from edgetl.backends.tensorrt.tensors import Tensors
from edgetl.errors import BackendError


class Lane:
    """Whoever gives ``resources`` closes them to free the lane.

    Args:
        notes: extended by a line if there is to be a graph and can't be.
    """

    def __init__(
        self,
        cuda: Cuda,
        binding: Binding,
        engine: Any,
        tensors: Tensors,
        resources: ExitStack,
        *,
        use_graph: bool,
        notes: list[str],
    ) -> None:
        self._use_graph = use_graph
        self._notes = notes
        self._recorder = binding.recorder
        self._input = tensors.input
        self._rows = 0
        self._graph: Graph | None = None
        self._profiler: Any = None
        self._stream = resources.enter_context(cuda.stream())
        self._images = resources.enter_context(cuda.buffer((tensors.most, *tensors.image), np.uint8))
        self._logits = resources.enter_context(cuda.buffer((tensors.most, tensors.outputs), np.float32))
        with self._recorder.listen() as messages:
            self._context: Any = engine.create_execution_context()
            context = self._context
            if (
                context is None
                or not context.set_tensor_address(tensors.input, self._images.address)
                or not context.set_tensor_address(tensors.output, self._logits.address)
            ):
                raise BackendError(f"TensorRT cannot run the engine: {explain(messages.errors)}")
        resources.callback(self._close)

    def submit(self, images: UInt8) -> None:
        """Start an inference; the caller may change the images at once."""
        rows = len(images)
        np.copyto(self._images.host[:rows], images, casting="no")
        if rows != self._rows:
            self._change_batch(rows)
            return
        if self._use_graph and self._graph is None:
            self._record()
        if self._graph is None:
            self._enqueue(rows)
        else:
            self._graph.launch()

    def collect(self) -> Float32:
        """The logits of the inference in flight, once they are there."""
        self.wait()
        logits: Float32 = self._logits.host[: self._rows].copy()
        return logits

    def wait(self) -> None:
        self._stream.synchronize()

    def attach(self, profiler: Any) -> None:
        """Have every layer's time reported."""
        context = self._context
        self._profiler = context.profiler = profiler

    def _change_batch(self, rows: int) -> None:
        """The first inference of a size is not recorded: TensorRT settles in it."""
        self._drop_graph()
        self._rows = 0
        context, height_width_channels = self._context, self._images.host.shape[1:]
        with self._recorder.listen() as messages:
            if not context.set_input_shape(self._input, (rows, *height_width_channels)):
                raise BackendError(f"TensorRT refuses a batch of {rows}: {explain(messages.errors)}")
        self._enqueue(rows)
        self._rows = rows

    def _enqueue(self, rows: int) -> None:
        context = self._context
        self._stream.upload(self._images, rows)
        with self._recorder.listen() as messages:
            if not context.execute_async_v3(int(self._stream)):
                raise BackendError(f"TensorRT cannot run the engine: {explain(messages.errors)}")
        self._stream.download(self._logits, rows)

    def _record(self) -> None:
        """Make the graph, or say why there is none and go on without."""
        context = self._context
        try:
            # only TensorRT for RTX knows beforehand
            if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(
                int(self._stream)
            ):
                raise BackendError("TensorRT says this engine can't be recorded")
            self._graph = self._stream.capture(lambda: self._enqueue(self._rows))
        except BackendError as error:
            self._use_graph = False
            self._notes.append(f"every inference is enqueued anew, without a CUDA graph: {error}")

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def _close(self) -> None:
        self.wait()
        self._drop_graph()
        self._context = None
