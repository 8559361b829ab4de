"""One engine in LiteRT, with its precision and XNNPACK's part of it read back from the interpreter."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

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
from edgetl.backends.litert import DEVICE
from edgetl.backends.pooled import run_pooled
from edgetl.contract.stream import usable_cores
from edgetl.errors import BackendError

_ARITHMETIC = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_DELEGATE = "DELEGATE"
_AT_THE_ENDS = ("QUANTIZE", "DEQUANTIZE")
_greeted = Event()
_NAMES = {np.dtype(np.int8): "int8", np.dtype(np.float32): "f32"}


class LiteRtSession(Session):
    """Interpreters that take turns: each answers one batch at a time."""

    def __init__(
        self, engine: Path, spec: EngineSpec, *, throughput: bool = False, content: bytes | None = None
    ) -> None:
        """Open a .tflite: a file, or ``content`` that was made of the file ``engine``."""
        _require_known(spec)
        self._spec = spec
        self._workers = usable_cores() if throughput else 1
        threads = 1 if throughput else spec.threads or usable_cores()
        opened = [open_interpreter(engine, threads, content) for _ in range(self._workers)]
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for interpreter in opened:
            self._idle.put(interpreter)
        first, *_ = opened
        entry, exit_ = first.get_input_details()[0], first.get_output_details()[0]
        self._input, self._output = entry["index"], exit_["index"]
        self._batch = int(entry["shape"][0])
        shape = [int(size) for size in entry["shape"]]
        self.input_shape = image_shape(shape, np.dtype(entry["dtype"]).name, engine)
        if exit_["dtype"] != np.float32 or len(exit_["shape"]) != 2:
            kind = f"{np.dtype(exit_['dtype']).name} {exit_['shape'].tolist()}"
            raise BackendError(f"{engine.name} gives {kind}; edgetl's engines give float32 [N, outputs]")
        self._operators = first._get_ops_details()
        self.notes = _notes(self._operators)

    def _run(self, images: UInt8) -> Float32:
        interpreter = self._idle.get()
        try:
            chunks = range(0, len(images), self._batch)
            return np.concatenate([self._infer(interpreter, images[i : i + self._batch]) for i in chunks])
        finally:
            self._idle.put(interpreter)

    def _infer(self, interpreter: Any, images: UInt8) -> Float32:
        filled = images
        if len(images) < self._batch:
            filler = np.zeros((self._batch - len(images), *self.input_shape), np.uint8)
            filled = np.concatenate([images, filler])
        interpreter.set_tensor(self._input, filled)
        interpreter.invoke()
        output: Float32 = interpreter.get_tensor(self._output)  # a copy
        return output[: len(images)]

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        run_pooled(self._run, batches, self._workers, consume)

    def precision(self) -> Precision:
        """By the operands of the operators with weights, of averages and gates too, which are written so."""
        layers: Counter[str] = Counter()
        for operator in self._operators:
            if operator["op_name"] in _ARITHMETIC:
                layers["/".join(dict.fromkeys(_names(operator["operand_types"][:2])))] += 1
        return Precision(self._spec.precision, majority(layers), "f32", dict(layers))

    def placement(self) -> Placement:
        """All on the CPU: what XNNPACK does not take, LiteRT's own kernels compute there (see ``notes``)."""
        return Placement(DEVICE, 1.0, 1.0)


def open_interpreter(engine: Path, threads: int, content: bytes | None = None) -> Any:
    """An interpreter ready to run a file, or ``content`` in its stead; LiteRT verifies what it reads.

    Raises:
        BackendError: if it is no .tflite that LiteRT can run.
    """
    model = {"model_path": str(engine)} if content is None else {"model_content": content}
    try:
        with _greeting_aside():
            interpreter = Interpreter(**model, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, OSError, TypeError) as error:
        raise failed("load", engine, error) from error
    return interpreter


@contextlib.contextmanager
def _greeting_aside() -> Iterator[None]:
    """Natively, and heeding no setting, LiteRT says on standard error once a process that it uses XNNPACK."""
    if _greeted.is_set():
        yield
        return
    former = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
        _greeted.set()
    finally:
        os.dup2(former, 2)
        os.close(former)


def _require_known(spec: EngineSpec) -> None:
    if spec.device != DEVICE:
        raise BackendError(f"LiteRT has no {spec.device} here (it has {DEVICE}); see: edgetl doctor")
    if spec.options:
        raise BackendError(f"LiteRT knows no option {next(iter(spec.options))!r}; it has none")


def _names(types: Any) -> Iterator[str]:
    return (_NAMES.get(np.dtype(kind), np.dtype(kind).name) for kind in types)


def _notes(operators: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """A line where other operators than the conversions at the ends are left to LiteRT's own kernels."""
    left = Counter(str(operator["op_name"]) for operator in left_over(operators))
    if not set(left) - set(_AT_THE_ENDS):
        return ()
    plain = sum(operator["op_name"] != _DELEGATE for operator in operators)
    names = ", ".join(f"{count} {name}" for name, count in sorted(left.items()))
    return (f"XNNPACK takes {plain - left.total()} of {plain} operators; LiteRT's own kernels run {names}",)


def left_over(operators: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Operators that no delegate took: those not between the inputs and the outputs of one.

    LiteRT lists the graph's operators and appends a ``DELEGATE`` for each part that a delegate took.
    """
    plain = [operator for operator in operators if operator["op_name"] != _DELEGATE]
    maker = {int(tensor): operator for operator in plain for tensor in operator["outputs"]}
    taken: set[int] = set()
    for part in operators:
        if part["op_name"] == _DELEGATE:
            edge = {int(tensor) for tensor in part["inputs"]}
            inside = [int(tensor) for tensor in part["outputs"]]
            while inside:
                tensor = inside.pop()
                made = None if tensor in edge else maker.get(tensor)
                if made is not None and made["index"] not in taken:
                    taken.add(made["index"])
                    inside += [int(source) for source in made["inputs"]]
    return [operator for operator in plain if operator["index"] not in taken]
