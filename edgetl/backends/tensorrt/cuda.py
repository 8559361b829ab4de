"""What running an engine takes of CUDA's runtime, by way of the library cuda-bindings (12.x and 13.x).

TensorRT and cuda-bindings each bring their own copy of that runtime; streams, memory and graphs belong to
the driver beneath, so what is made here can be handed to TensorRT.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.errors import BackendError, MissingDependencyError

_MODULE = "cuda.bindings.runtime"
_INSUFFICIENT_DRIVER, _NO_DEVICE = 35, 100


class Cuda:
    """One GPU of this machine.

    Attributes:
        cudart: the module ``cuda.bindings.runtime``.
        name: what the GPU calls itself.
        zero_copy: it has no memory of its own, so that it works in the host's.
    """

    def __init__(self, index: int, extra: str) -> None:
        """Make the GPU the calling thread's.

        Args:
            extra: which of edgetl's extras brings cuda-bindings.

        Raises:
            MissingDependencyError: if cuda-bindings is not installed.
            BackendError: if there is no driver, or no such GPU.
        """
        self.cudart = _load(extra)
        self._index = index
        count = self._count()
        if index >= count:
            raise BackendError(
                f"there is no cuda:{index} here; GPUs are counted from 0 and there are {count}"
            )
        self.use()
        name = self.call("cudaGetDeviceProperties", index).name
        self.name: str = name.decode() if isinstance(name, bytes) else name
        kinds = self.cudart.cudaDeviceAttr
        self.zero_copy = all(
            self.call("cudaDeviceGetAttribute", kind, index)
            for kind in (kinds.cudaDevAttrIntegrated, kinds.cudaDevAttrCanMapHostMemory)
        )

    def call(self, name: str, *arguments: Any) -> Any:
        """What a CUDA function returns besides its error code.

        Raises:
            BackendError: with the names of the function and of the error, if it fails.
        """
        code, *results = getattr(self.cudart, name)(*arguments)
        if int(code) != 0:
            raise BackendError(f"{name} failed: {self._described(code)}")
        return results[0] if results else None

    def use(self) -> None:
        """Make this GPU the calling thread's; every thread begins with the first one."""
        self.call("cudaSetDevice", self._index)

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """A queue of work for the GPU."""
        handle = self.call("cudaStreamCreateWithFlags", self.cudart.cudaStreamNonBlocking)
        try:
            yield Stream(self, handle)
        finally:
            self.call("cudaStreamDestroy", handle)

    @contextmanager
    def buffer(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[Buffer]:
        """Memory for one tensor, on the host (page-locked) and on the GPU; not cleared."""
        length = math.prod(shape) * np.dtype(dtype).itemsize
        flags = self.cudart.cudaHostAllocMapped if self.zero_copy else self.cudart.cudaHostAllocDefault
        address = self.call("cudaHostAlloc", length, flags)
        try:
            memory = (ctypes.c_uint8 * length).from_address(address)
            host = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
            if self.zero_copy:
                yield Buffer(host, address, self.call("cudaHostGetDevicePointer", address, 0), shared=True)
                return
            device = self.call("cudaMalloc", length)
            try:
                yield Buffer(host, address, device, shared=False)
            finally:
                self.call("cudaFree", device)
        finally:
            self.call("cudaFreeHost", address)

    def _count(self) -> int:
        code, count = self.cudart.cudaGetDeviceCount()
        if int(code) == 0:
            return int(count)
        if int(code) == _NO_DEVICE:
            raise BackendError("no NVIDIA GPU is visible here; a container must be given it (--gpus all)")
        if int(code) != _INSUFFICIENT_DRIVER:
            raise BackendError(f"cudaGetDeviceCount failed: {self._described(code)}")
        version = int(self.call("cudaDriverGetVersion"))
        if version == 0:
            raise BackendError(
                "no NVIDIA driver is loaded here: run this on a machine with an NVIDIA GPU, "
                "or give the container its GPU (--gpus all)"
            )
        raise BackendError(
            f"the NVIDIA driver knows CUDA up to {version // 1000}.{version % 1000 // 10}, the installed "
            f"cuda-bindings are for a later one: pip install 'cuda-bindings<{version // 1000 + 1}'"
        )

    def _described(self, code: Any) -> str:
        """``cudaErrorMemoryAllocation (out of memory)``."""
        _, name = self.cudart.cudaGetErrorName(code)
        _, text = self.cudart.cudaGetErrorString(code)
        return f"{_text(name)} ({_text(text)})"


@dataclass(frozen=True)
class Buffer:
    """Memory for one tensor.

    Attributes:
        host: to be read and written here.
        host_address: of ``host``.
        address: of the tensor as the GPU sees it.
        shared: both are the same memory.
    """

    host: npt.NDArray[Any] = field(repr=False)
    host_address: int
    address: int
    shared: bool


class Stream:
    """A queue of work for the GPU, done in order."""

    def __init__(self, cuda: Cuda, handle: Any) -> None:
        self._cuda = cuda
        self._handle = handle

    def __int__(self) -> int:
        """The handle, as TensorRT takes it."""
        return int(self._handle)

    def upload(self, buffer: Buffer, rows: int) -> None:
        """Copy the first rows to the GPU; the host's must stay as they are until the work is done."""
        self._copy(buffer, buffer.address, buffer.host_address, rows, "cudaMemcpyHostToDevice")

    def download(self, buffer: Buffer, rows: int) -> None:
        """Copy the first rows from the GPU."""
        self._copy(buffer, buffer.host_address, buffer.address, rows, "cudaMemcpyDeviceToHost")

    def _copy(self, buffer: Buffer, to: int, source: int, rows: int, kind: str) -> None:
        if not buffer.shared:
            length = rows * buffer.host.strides[0]
            direction = getattr(self._cuda.cudart.cudaMemcpyKind, kind)
            self._cuda.call("cudaMemcpyAsync", to, source, length, direction, self._handle)

    def synchronize(self) -> None:
        """Wait until all its work is done."""
        self._cuda.call("cudaStreamSynchronize", self._handle)

    def capture(self, work: Callable[[], None]) -> Graph:
        """Record what ``work`` puts on this stream, without doing it.

        Raises:
            BackendError: if something of it can't be recorded; the stream is usable all the same.
        """
        # thread-local: what other threads allocate meanwhile must not break the capture
        mode = self._cuda.cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self._handle, mode)
        try:
            work()
        except BaseException:
            self._abandon_capture()
            raise
        graph = self._cuda.call("cudaStreamEndCapture", self._handle)
        try:
            return Graph(self._cuda, self._cuda.call("cudaGraphInstantiate", graph, 0), self._handle)
        finally:
            self._cuda.call("cudaGraphDestroy", graph)

    def _abandon_capture(self) -> None:
        """Leave capture mode; the errors this gives only repeat why the capture failed."""
        code, graph = self._cuda.cudart.cudaStreamEndCapture(self._handle)
        if int(code) == 0:
            self._cuda.call("cudaGraphDestroy", graph)
        self._cuda.cudart.cudaGetLastError()


class Graph:
    """Work recorded from a stream, to be repeated by one call."""

    def __init__(self, cuda: Cuda, executable: Any, stream: Any) -> None:
        self._cuda = cuda
        self._executable = executable
        self._stream = stream

    def launch(self) -> None:
        """Put the recorded work on the stream it was recorded from."""
        self._cuda.call("cudaGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        self._cuda.call("cudaGraphExecDestroy", self._executable)


def _load(extra: str) -> Any:
    try:
        return import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name is None or not _MODULE.startswith(error.name):
            raise BackendError(f"cuda-bindings is installed but does not load: {error}") from error
        raise MissingDependencyError("cuda-bindings", extra) from error
    except (ImportError, OSError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise BackendError(f"cuda-bindings is installed but does not load: {line}") from error


def _text(found: Any) -> str:
    return found.decode() if isinstance(found, bytes) else str(found)
