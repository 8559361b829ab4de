"""One engine in onnxruntime, with its precision and placement read back from the runtime's profile."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

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
from edgetl.contract.stream import usable_cores
from edgetl.errors import BackendError

_ARITHMETIC = ("Conv", "MatMul", "Gemm")
_ERRORS_ONLY = 3


class OnnxRuntimeSession(Session):
    def __init__(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> None:
        self._engine = engine
        self._spec = spec
        self._workers = usable_cores() if throughput else 1
        self._session = self._open(_options(spec, single_thread=throughput))
        description = self._session.get_inputs()[0]
        batch = description.shape[0]
        self._batch = batch if isinstance(batch, int) else None
        self._input = description.name
        self.input_shape = image_shape(description.shape, description.type, engine)
        self._outputs = [self._session.get_outputs()[0].name]

    def _open(self, options: Any) -> Any:
        asked = self._spec.device
        if asked not in onnxruntime.get_available_providers():
            known = ", ".join(onnxruntime.get_available_providers())
            raise BackendError(f"onnxruntime has no {asked} here (it has {known}); see: edgetl doctor")
        provider_options = dict(self._spec.options)
        try:
            session = onnxruntime.InferenceSession(
                str(self._engine),
                options,
                providers=[(asked, provider_options) if provider_options else asked],
            )
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise failed("load", self._engine, error) from error
        got = session.get_providers()
        if got[0] != asked:
            raise BackendError(
                f"asked onnxruntime for {asked}, it fell back to {got[0]}; refusing to go on silently"
            )
        return session

    def _run(self, images: UInt8) -> Float32:
        if self._batch in (None, len(images)):
            output: Float32 = self._session.run(self._outputs, {self._input: images})[0]
            return output
        raise BackendError(f"engine has a fixed batch of {self._batch}, got {len(images)} images")

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        pending: dict[Future[Float32], int] = {}
        with ThreadPoolExecutor(self._workers) as pool:
            for index, images in enumerate(batches):
                if len(pending) > self._workers:
                    _drain(pending, consume)
                pending[pool.submit(self._run, images)] = index
            while pending:
                _drain(pending, consume)

    def precision(self) -> Precision:
        layers: Counter[str] = Counter()
        for event in self._profile:
            operator = event["args"]["op_name"]
            if any(name in operator for name in _ARITHMETIC):
                layers[_operand_precision(event)] += 1
        rest = sorted(name for name in layers if name != "int8")
        return Precision(self._spec.precision, majority(layers), rest[0] if rest else "f32", dict(layers))

    def placement(self) -> Placement:
        asked = self._spec.device
        events = self._profile
        here = [event for event in events if event["args"]["provider"] == asked]
        elsewhere = sorted({event["name"] for event in events} - {event["name"] for event in here})
        time_all = sum(event["dur"] for event in events)
        share = sum(event["dur"] for event in here) / time_all if time_all else None
        return Placement(asked, len(here) / len(events), share, tuple(elsewhere))

    @cached_property
    def _profile(self) -> list[dict[str, Any]]:
        """Node events of one inference after a first one, from onnxruntime's own profiler."""
        with tempfile.TemporaryDirectory(prefix="edgetl-profile-") as folder:
            options = _options(self._spec)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "ort")
            session = self._open(options)
            image = np.zeros((self._batch or 1, *self.input_shape), np.uint8)
            for _ in range(2):
                session.run(self._outputs, {self._input: image})
            events = json.loads(Path(session.end_profiling()).read_text())
        nodes = [
            event for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})
        ]
        if not nodes:
            raise BackendError("onnxruntime's profile lists no executed node; cannot prove placement")
        return nodes[len(nodes) // 2 :]


def _options(spec: EngineSpec, *, single_thread: bool = False) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = 1 if single_thread else spec.threads
    return options


def _operand_precision(event: dict[str, Any]) -> str:
    """Precision of an operator's first operand."""
    types = event["args"].get("input_type_shape") or [{}]
    first = next(iter(types[0]), "unknown")
    return {"uint8": "int8", "int8": "int8", "float": "f32", "float16": "f16", "bfloat16": "bf16"}.get(
        first, first
    )


def _drain(pending: dict[Future[Float32], int], consume: Consume) -> None:
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        consume(pending.pop(future), future.result())
