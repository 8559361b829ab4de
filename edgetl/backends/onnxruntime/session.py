"""One engine in onnxruntime, with its precision and placement read back from the runtime's profile."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

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
from edgetl.backends.onnxruntime import CPU
from edgetl.backends.onnxruntime.node_names import NodeNames
from edgetl.backends.onnxruntime.profile import layer_times, one_inference, operand_precision, share_of_time
from edgetl.backends.pooled import run_pooled
from edgetl.backends.profiling import profiled_runs, warm_up
from edgetl.contract.stream import usable_cores
from edgetl.errors import BackendError

_ARITHMETIC = ("Conv", "MatMul", "Gemm")
_ERRORS_ONLY = 3
SESSION = "session."
NO_CPU = "session.disable_cpu_ep_fallback"
REQUANTIZER = "WeightBiasQuantization"
"""Quantizes weights that are float, where what is around them is not: nodes kept in float among them."""
KEPT_FLOAT = "edgetl.kept_float"
"""Metadata of a quantized model: nodes that are to stay in float."""


class OnnxRuntimeSession(Session):
    def __init__(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> None:
        self._engine = engine
        self._spec = spec
        self._workers = usable_cores() if throughput else 1
        self._session = open_session(engine, spec, session_options(spec, single_thread=throughput))
        description = self._session.get_inputs()[0]
        batch = description.shape[0]
        self._batch = batch if isinstance(batch, int) else None
        self._input = description.name
        self.input_shape = image_shape(description.shape, description.type, engine)
        self._outputs = [self._session.get_outputs()[0].name]

    def _run(self, images: UInt8) -> Float32:
        if self._batch in (None, len(images)):
            output: Float32 = self._session.run(self._outputs, {self._input: images})[0]
            return output
        raise BackendError(f"engine has a fixed batch of {self._batch}, got {len(images)} images")

    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        run_pooled(self._run, batches, self._workers, consume)

    def precision(self) -> Precision:
        """By the operands of the nodes executed; ``unknown`` where a provider compiled them into one."""
        layers: Counter[str] = Counter()
        for event in self._profile:
            operator = event["args"]["op_name"]
            if any(name in operator for name in _ARITHMETIC):
                layers[operand_precision(event)] += 1
        rest = sorted(name for name in layers if name != "int8")
        float_part = rest[0] if rest else "f32" if layers else "unknown"
        return Precision(self._spec.precision, majority(layers), float_part, dict(layers))

    def placement(self) -> Placement:
        """By the nodes executed, and their times.

        Where a GPU does a part of them only, the share of time is None: the profile's times are the host's,
        who only starts what a GPU runs.
        """
        asked = self._spec.device
        events = self._profile
        here = [event for event in events if event["args"]["provider"] == asked]
        elsewhere = sorted({event["name"] for event in events} - {event["name"] for event in here})
        share = len(here) / len(events)
        return Placement(asked, share, share_of_time(asked, events), tuple(elsewhere))

    def layer_times(self) -> tuple[LayerTime, ...]:
        """Medians of the profiler's; none where a GPU takes part, for its nodes' times are the host's."""
        return layer_times(self._profile, NodeNames(self._engine))

    @cached_property
    def _profile(self) -> list[dict[str, Any]]:
        """Node events of a typical inference, from onnxruntime's own profiler, on black pictures.

        A session of its own for at most about three seconds, or two inferences where one takes longer.
        """
        with tempfile.TemporaryDirectory(prefix="edgetl-profile-") as folder:
            options = session_options(self._spec)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "ort")
            session = open_session(self._engine, self._spec, options)
            image = np.zeros((self._batch or 1, *self.input_shape), np.uint8)
            infer = partial(session.run, self._outputs, {self._input: image})
            warm_up(infer)
            runs = profiled_runs(infer)
            events = json.loads(Path(session.end_profiling()).read_text())
        nodes = one_inference(events, runs)
        if not nodes:
            raise BackendError("onnxruntime's profile lists no executed node; cannot prove placement")
        return nodes


def session_options(spec: EngineSpec, *, single_thread: bool = False) -> Any:
    """onnxruntime's options for a spec, whose options called ``session.…`` are not the provider's.

    What the provider can't run is an error, unless the spec allows the CPU to take it
    (``session.disable_cpu_ep_fallback = "0"``).
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = 1 if single_thread else spec.threads
    entries = {name: value for name, value in spec.options.items() if name.startswith(SESSION)}
    if spec.device != CPU:
        entries = {NO_CPU: "1", **entries}
    for name, value in entries.items():
        options.add_session_config_entry(name, str(int(value) if isinstance(value, bool) else value))
    return options


def open_session(model: Path, spec: EngineSpec, options: Any) -> Any:
    """An ``InferenceSession`` on the provider that the spec asks for, and on no other.

    Raises:
        BackendError: if the model can't be loaded, or would run elsewhere.
    """
    asked = spec.device
    if asked not in onnxruntime.get_available_providers():
        known = ", ".join(onnxruntime.get_available_providers())
        raise BackendError(f"onnxruntime has no {asked} here (it has {known}); see: edgetl doctor")
    provider_options = {name: value for name, value in spec.options.items() if not name.startswith(SESSION)}
    opened = partial(
        onnxruntime.InferenceSession,
        str(model),
        options,
        providers=[(asked, provider_options) if provider_options else asked],
        enable_fallback=0,  # or it would print that it goes on with the CPU, and do so
    )
    try:
        session = opened()
        if KEPT_FLOAT in session.get_modelmeta().custom_metadata_map:
            session = opened(disabled_optimizers=[REQUANTIZER])
    except Exception as error:  # onnxruntime's exceptions share no base class
        if "fallback to CPU EP has been explicitly disabled" in str(error):
            raise BackendError(
                f"asked onnxruntime for {asked}, it fell back to {CPU} for nodes of {model.name}: "
                "the provider does not load here, as its own messages say, or it can't run those nodes, "
                f'which the option {NO_CPU} = "0" leaves to the CPU'
            ) from error
        raise failed("load", model, error) from error
    got = session.get_providers()
    if got[0] != asked:
        raise BackendError(
            f"asked onnxruntime for {asked}, it fell back to {got[0]}; refusing to go on silently"
        )
    return session
