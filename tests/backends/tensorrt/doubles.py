"""A GPU and a TensorRT made of host memory and onnxruntime, for machines that have neither.

They are as strict as the real ones are unforgiving: work on a stream is done when the stream is waited for
and not before, memory may be neither freed nor overwritten while work on it is under way, and every pointer
must be one that was handed out for that use and not yet given back.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

SUCCESS, OUT_OF_MEMORY, INSUFFICIENT_DRIVER, NO_DEVICE = 0, 2, 35, 100
CAPTURE_INVALIDATED = 901
_ERRORS = {
    OUT_OF_MEMORY: ("cudaErrorMemoryAllocation", "out of memory"),
    INSUFFICIENT_DRIVER: ("cudaErrorInsufficientDriver", "CUDA driver version is insufficient"),
    NO_DEVICE: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    CAPTURE_INVALIDATED: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error"),
}


class Misuse(AssertionError):
    """What the real library would answer with a crash, or with wrong numbers."""


@dataclass
class Block:
    """Memory that was handed out: ``address`` on the host (None: GPU only), ``device`` on the GPU."""

    kind: str
    memory: Any
    address: int | None
    device: int | None

    def bytes(self, length: int) -> memoryview:
        if length > len(self.memory):
            raise Misuse(f"{length} bytes used of {len(self.memory)}")
        return memoryview(self.memory).cast("B")[:length]


@dataclass
class Work:
    """Something on a stream: what it reads must not change until it ran."""

    run: Callable[[], None]
    reads: tuple[tuple[Block, int], ...]
    blocks: tuple[Block, ...]
    seen: tuple[bytes, ...] = ()

    def launched(self) -> Work:
        """A copy of it that remembers what the host wrote for it."""
        seen = tuple(bytes(block.bytes(length)) for block, length in self.reads if block.address)
        return Work(self.run, self.reads, self.blocks, seen)

    def do(self) -> None:
        now = tuple(bytes(block.bytes(length)) for block, length in self.reads if block.address)
        if now != self.seen:
            raise Misuse("the host changed what an inference under way was still to read")
        self.run()


@dataclass
class Stream:
    number: int
    queue: list[Work] = field(default_factory=list)
    recording: list[Work] | None = None
    invalid: bool = False

    def __int__(self) -> int:
        return self.number

    def put(self, work: Work) -> None:
        if self.recording is None:
            self.queue.append(work.launched())
        else:
            self.recording.append(work)


class Names(SimpleNamespace):
    """Stands for an enumeration: each name is its own value."""

    def __getattr__(self, name: str) -> str:
        return name


class FakeCuda:
    """``cuda.bindings.runtime``; functions have its names, arguments and return values.

    Attributes:
        calls: names of the functions called, in order.
        failing: error codes by function; a list gives one for each call to come.
        integrated: whether the GPU works in the host's memory.
    """

    cudaHostAllocDefault, cudaHostAllocMapped, cudaStreamNonBlocking = 0, 2, 1
    cudaDeviceAttr = Names()
    cudaStreamCaptureMode = Names()
    cudaMemcpyKind = Names()

    def __init__(self, *, integrated: bool = False, devices: int = 1, driver: int = 13000) -> None:
        self.integrated, self.devices, self.driver = integrated, devices, driver
        self.calls: list[str] = []
        self.failing: dict[str, int | list[int]] = {}
        self.blocks: list[Block] = []
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self._next = 0x10_0000_0000

    def open(self) -> list[str]:
        """What was not given back."""
        return [
            *(block.kind for block in self.blocks),
            *("stream" for _ in self.streams),
            *("graph" for _ in self.graphs),
            *("executable graph" for _ in self.executables),
        ]

    def at(self, address: int, side: str) -> Block:
        """The block at an address of the ``host`` or the ``device``."""
        for block in self.blocks:
            if address == (block.address if side == "host" else block.device):
                return block
        raise Misuse(f"no memory of the {side} at {address:#x}")

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("cuda") or not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            codes = self.failing.get(name, SUCCESS)
            code = codes if isinstance(codes, int) else codes.pop(0) if codes else SUCCESS
            return (code, None) if code else found(*arguments)

        return call

    def cudaGetErrorName(self, error: int) -> tuple[int, bytes]:
        return SUCCESS, _ERRORS[error][0].encode()

    def cudaGetErrorString(self, error: int) -> tuple[int, bytes]:
        return SUCCESS, _ERRORS[error][1].encode()

    def cudaGetLastError(self) -> tuple[int]:
        return (SUCCESS,)

    def cudaDriverGetVersion(self) -> tuple[int, int]:
        return SUCCESS, self.driver

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return SUCCESS, self.devices

    def cudaSetDevice(self, device: int) -> tuple[int]:
        if not 0 <= device < self.devices:
            raise Misuse(f"device {device}")
        return (SUCCESS,)

    def cudaGetDeviceProperties(self, device: int) -> tuple[int, Any]:
        return SUCCESS, SimpleNamespace(name=b"Pretend GPU")

    def cudaDeviceGetAttribute(self, attr: str, device: int) -> tuple[int, int]:
        if attr not in ("cudaDevAttrIntegrated", "cudaDevAttrCanMapHostMemory"):
            raise Misuse(f"attribute {attr}")
        return SUCCESS, int(self.integrated or attr == "cudaDevAttrCanMapHostMemory")

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[int, int]:
        memory = (ctypes.c_uint8 * size)(*b"\xa5" * size)
        device = self._address() if flags & self.cudaHostAllocMapped else None
        self.blocks.append(Block("pinned memory", memory, ctypes.addressof(memory), device))
        return SUCCESS, ctypes.addressof(memory)

    def cudaHostGetDevicePointer(self, pHost: int, flags: int) -> tuple[int, int]:
        device = self.at(pHost, "host").device
        if device is None:
            raise Misuse("not mapped")
        return SUCCESS, device

    def cudaFreeHost(self, ptr: int) -> tuple[int]:
        return self._free(self.at(ptr, "host"), "pinned memory")

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        memory = (ctypes.c_uint8 * size)(*b"\x5a" * size)
        self.blocks.append(Block("device memory", memory, None, self._address()))
        return SUCCESS, self._next

    def cudaFree(self, devPtr: int) -> tuple[int]:
        return self._free(self.at(devPtr, "device"), "device memory")

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: str, stream: Stream) -> tuple[int]:
        sides = {"cudaMemcpyHostToDevice": ("device", "host"), "cudaMemcpyDeviceToHost": ("host", "device")}
        to, source = self.at(dst, sides[kind][0]), self.at(src, sides[kind][1])

        def copy() -> None:
            to.bytes(count)[:] = source.bytes(count)

        self._stream(stream).put(Work(copy, ((source, count),), (to, source)))
        return (SUCCESS,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, Stream]:
        stream = Stream(self._address())
        self.streams[stream.number] = stream
        return SUCCESS, stream

    def cudaStreamDestroy(self, stream: Stream) -> tuple[int]:
        if self._stream(stream).queue:
            raise Misuse("a stream was destroyed with work on it")
        del self.streams[int(stream)]
        return (SUCCESS,)

    def cudaStreamSynchronize(self, stream: Stream) -> tuple[int]:
        if self._stream(stream).recording is not None:
            raise Misuse("a stream was waited for while it was recorded")
        while stream.queue:
            stream.queue.pop(0).do()
        return (SUCCESS,)

    def cudaStreamBeginCapture(self, stream: Stream, mode: str) -> tuple[int]:
        if mode != "cudaStreamCaptureModeThreadLocal" or self._stream(stream).recording is not None:
            raise Misuse("begin of a capture")
        stream.recording = []
        return (SUCCESS,)

    def cudaStreamEndCapture(self, stream: Stream) -> tuple[int, int | None]:
        recorded, invalid = self._stream(stream).recording, stream.invalid
        if recorded is None:
            raise Misuse("end of no capture")
        stream.recording, stream.invalid = None, False
        if invalid:
            return CAPTURE_INVALIDATED, None
        graph = self._address()
        self.graphs[graph] = recorded
        return SUCCESS, graph

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[int, int]:
        if graph not in self.graphs or flags:
            raise Misuse("graph")
        executable = self._address()
        self.executables[executable] = self.graphs[graph]
        return SUCCESS, executable

    def cudaGraphDestroy(self, graph: int) -> tuple[int]:
        del self.graphs[graph]
        return (SUCCESS,)

    def cudaGraphLaunch(self, graphExec: int, stream: Stream) -> tuple[int]:
        for work in self.executables[graphExec]:
            self._stream(stream).put(work)
        return (SUCCESS,)

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[int]:
        del self.executables[graphExec]
        return (SUCCESS,)

    def _address(self) -> int:
        self._next += 0x1_0000
        return self._next

    def _stream(self, stream: Stream) -> Stream:
        if self.streams.get(int(stream)) is not stream:
            raise Misuse("a stream that is not there")
        return stream

    def _free(self, block: Block, kind: str) -> tuple[int]:
        used = [*self._pending(), *(work for recorded in self.executables.values() for work in recorded)]
        if block.kind != kind or any(block is other for work in used for other in work.blocks):
            raise Misuse(f"{block.kind} was freed as {kind}, or while work on it was under way")
        self.blocks.remove(block)
        return (SUCCESS,)

    def _pending(self) -> Iterator[Work]:
        for stream in self.streams.values():
            yield from stream.queue


class DataType(IntEnum):
    FLOAT, HALF, UINT8 = range(3)

    def __str__(self) -> str:
        return f"DataType.{self.name}"


@dataclass
class Pretence:
    """What the pretended engine is: any of it can be changed before it is loaded.

    Attributes:
        shapes: of the input and the output; ``-1`` is dynamic.
        batches: smallest, best and largest batch of the optimization profile.
        inspector: what the engine's inspector says.
    """

    shapes: dict[str, list[int]]
    batches: tuple[int, int, int] = (1, 2, 4)
    dtypes: dict[str, DataType] = field(
        default_factory=lambda: {"image": DataType.UINT8, "logits": DataType.FLOAT}
    )
    modes: dict[str, str] = field(default_factory=lambda: {"image": "INPUT", "logits": "OUTPUT"})
    formats: dict[str, str] = field(default_factory=lambda: {"image": "LINEAR", "logits": "LINEAR"})
    inspector: Mapping[str, Any] = field(default_factory=lambda: {"Layers": ["conv0"]})
    context_fails: bool = False
    execution_fails: bool = False
    records: bool = True
    invalidates: bool = True
    capturable: bool | None = None


class FakeTensorRt:
    """The module ``tensorrt``; an engine file is an ONNX file, run by onnxruntime."""

    __version__ = "10.3.0"
    DataType = DataType
    TensorIOMode = TensorFormat = LayerInformationFormat = Names()

    class ILogger:
        def log(self, severity: Any, text: str) -> None: ...

    class IProfiler:
        def report_layer_time(self, layer_name: str, ms: float) -> None: ...

    def __init__(self, cuda: FakeCuda, pretence: Pretence) -> None:
        self.cuda, self.pretence = cuda, pretence
        self.contexts = 0

    def Runtime(self, logger: Any) -> Runtime:
        return Runtime(self, logger)


class Runtime:
    DLA_core = -1

    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:
        if not trt.cuda.devices:
            raise Misuse("without a driver the real one ends the process")
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        import onnxruntime

        try:
            session = onnxruntime.InferenceSession(serialized_engine, providers=["CPUExecutionProvider"])
        except Exception:
            self._logger.log("Severity.ERROR", "Deserialization failed: magic tag\n does not match.")
            return None
        return ICudaEngine(self._trt, self._logger, session, self.DLA_core)


class ICudaEngine:
    device_memory_size_v2 = 4096

    def __init__(self, trt: FakeTensorRt, logger: Any, session: Any, dla_core: int) -> None:
        self._trt, self._logger, self._session, self._told = trt, logger, session, trt.pretence
        self._dla_core = dla_core

    @property
    def num_io_tensors(self) -> int:
        return len(self._told.modes)

    def get_tensor_name(self, index: int) -> str:
        return list(self._told.modes)[index]

    def get_tensor_mode(self, name: str) -> str:
        return self._told.modes[name]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._told.shapes[name])

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._told.dtypes[name]

    def get_tensor_format(self, name: str) -> str:
        return self._told.formats[name]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [(batch, *self._told.shapes[name][1:]) for batch in self._told.batches]

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._told)

    def create_execution_context(self) -> IExecutionContext | None:
        if self._told.context_fails:
            self._logger.log("Severity.ERROR", "Out of memory\n in createExecutionContext")
            return None
        kind = IExecutionContext if self._told.capturable is None else RtxExecutionContext
        return kind(self._trt, self._logger, self._session)


class EngineInspector:
    def __init__(self, told: Pretence) -> None:
        self._told = told

    def get_engine_information(self, format: str) -> str:
        return json.dumps(self._told.inspector) if format == "JSON" else ""


class IExecutionContext:
    profiler: Any = None

    def __init__(self, trt: FakeTensorRt, logger: Any, session: Any) -> None:
        self._trt, self._logger, self._session = trt, logger, session
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] | None = None
        self._settled = False
        trt.contexts += 1

    def __del__(self) -> None:
        self._trt.contexts -= 1
        self._trt.cuda.calls.append("~IExecutionContext")

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._trt.cuda.at(memory, "device")
        self._addresses[name] = memory
        return name in self._trt.pretence.modes

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._settled = self._settled and shape == self._shape
        self._shape = shape
        return len(shape) == 4

    def execute_async_v3(self, stream_handle: int) -> bool:
        stream, told = self._trt.cuda.streams[stream_handle], self._trt.pretence
        recording = stream.recording is not None
        if told.execution_fails or (recording and not told.records):
            stream.invalid = recording and told.invalidates
            self._logger.log("Severity.ERROR", "IExecutionContext::enqueueV3: Error Code 1: Cuda\n Runtime")
            return False
        if recording and (not self._settled or self.profiler):
            raise Misuse("recorded before a first inference of this shape, or with a profiler")
        if self._shape is None:
            raise Misuse("the input has no shape")
        self._settled = True
        shape = self._shape
        source, result = (self._trt.cuda.at(self._addresses[name], "device") for name in ("image", "logits"))
        length = int(np.prod(shape))

        def infer() -> None:
            images = np.frombuffer(source.bytes(length), np.uint8).reshape(shape)
            logits = self._session.run(None, {self._session.get_inputs()[0].name: images})[0].tobytes()
            result.bytes(len(logits))[:] = logits

        stream.put(Work(infer, ((source, length),), (source, result)))
        if self.profiler is not None:
            for name, time in (("conv0", 0.25), ("conv1", 0.5), ("conv0", 0.25)):
                self.profiler.report_layer_time(name, time)
        return True


class RtxExecutionContext(IExecutionContext):
    def is_stream_capturable(self, stream: int) -> bool:
        return bool(self._trt.pretence.capturable)
