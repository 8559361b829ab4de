"""Compiled contexts at work: on a Hexagon NPU in this process, or in x86 emulation in children."""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from edgetl.backends.base import (
    Consume,
    EngineSpec,
    Float32,
    Placement,
    Precision,
    Proof,
    Session,
    UInt8,
    failed,
    image_shape,
)
from edgetl.backends.pooled import run_pooled
from edgetl.backends.qnn.compiler import toolchain
from edgetl.backends.qnn.proof import read_proof
from edgetl.backends.worker import Worker
from edgetl.errors import BackendError

_MOST_CHILDREN = 8
"""Each takes 200 MB."""
_LOAD_SECONDS = 120.0
_RUN_SECONDS = 120.0
"""For one image: ResNet-18 takes four seconds on a busy core."""


class _ContextSession(Session):
    """What both have in common: a fixed batch, and the word of the compiler on precision and placement."""

    def __init__(self, engine: Path, spec: EngineSpec) -> None:
        self._engine = engine
        self._proof: Proof = read_proof(engine, spec)

    def _describe(self, description: dict[str, Any]) -> None:
        self.input_shape = image_shape(description["shape"], description["type"], self._engine)
        self._batch: int = description["shape"][0]

    def _run(self, images: UInt8) -> Float32:
        if len(images) != self._batch:
            raise BackendError(f"engine has a fixed batch of {self._batch}, got {len(images)} images")
        return self._infer(images)

    @abstractmethod
    def _infer(self, images: UInt8) -> Float32: ...

    def precision(self) -> Precision:
        assert self._proof.precision is not None
        return self._proof.precision

    def placement(self) -> Placement:
        assert self._proof.placement is not None
        return self._proof.placement


class HtpSession(_ContextSession):
    """A context on this machine's Hexagon NPU. Written against the provider's API; no board was at hand."""

    def __init__(self, engine: Path, spec: EngineSpec) -> None:
        from edgetl.backends.qnn.child import describe, open_session

        super().__init__(engine, spec)
        options = {name: str(value) for name, value in spec.options.items()}
        try:
            self._session = open_session(str(engine), options, {})
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise failed("load", engine, error) from error
        description = describe(self._session)
        self._names = description["input"], description["output"]
        self._describe(description)

    def _infer(self, images: UInt8) -> Float32:
        source, sink = self._names
        output: Float32 = self._session.run([sink], {source: images})[0]
        return output

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        for index, images in enumerate(batches):  # one HTP runs one graph at a time
            consume(index, self.run(images))


class EmulatedSession(_ContextSession):
    """A context in QNN's x86 emulation of the HTP, which uses one core: a child for each.

    Each child keeps to a core of its own. Free to move, two of them take five times as long, for the
    emulation's threads wait for one another by spinning.
    """

    def __init__(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> None:
        super().__init__(engine, spec)
        self._idle: SimpleQueue[_Emulator] = SimpleQueue()
        several = throughput and hasattr(os, "sched_getaffinity")
        cores = sorted(os.sched_getaffinity(0))[:_MOST_CHILDREN] if several else [None]
        self._count = len(cores)
        with contextlib.ExitStack() as resources:
            for core in cores:
                worker = resources.enter_context(toolchain("HTP emulation"))
                if core is not None:
                    os.sched_setaffinity(worker.pid, {core})  # before it starts threads, which inherit it
                emulator = _Emulator(worker, engine, resources)
                self._idle.put(emulator)
            self._describe(emulator.description)
            self._free = weakref.finalize(self, resources.pop_all().close)

    def close(self) -> None:
        """Stop the children now; they are stopped with the session at the latest."""
        self._free()

    def _infer(self, images: UInt8) -> Float32:
        if not self._free.alive:
            raise BackendError(f"{self._engine.name} was closed")
        emulator = self._idle.get()
        try:
            return emulator.infer(images)
        finally:
            self._idle.put(emulator)

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        run_pooled(self.run, batches, self._count, consume)


class _Emulator:
    """One child with the context open; images and logits travel as files."""

    def __init__(self, worker: Worker, engine: Path, resources: contextlib.ExitStack) -> None:
        self._worker = worker
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="edgetl-qnn-")))
        self._images, self._logits = folder / "images.npy", folder / "logits.npy"
        request = {"engine": str(engine.resolve()), "provider": {}}
        self.description = worker.ask("load", timeout=_LOAD_SECONDS, **request)

    def infer(self, images: UInt8) -> Float32:
        np.save(self._images, images)
        request = {"images": str(self._images), "out": str(self._logits)}
        self._worker.ask("run", timeout=_RUN_SECONDS * len(images), **request)
        output: Float32 = np.load(self._logits)
        return output
