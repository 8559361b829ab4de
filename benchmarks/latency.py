"""Whether edgetl's latencies are those that the vendors' own ways of measuring give."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import vendor
from benchmarks.goal import Goal
from benchmarks.models import ONNXRUNTIME, OPENVINO, backbone
from benchmarks.rounds import Rounds, alternate
from benchmarks.settings import Settings
from edgetl.backends import get_backend
from edgetl.errors import EdgetlError
from edgetl.measurement.engine import Images, Runnable
from edgetl.measurement.latency import LatencyOptions, measure

AREA = "latency"
_LOOPS = 300


def goals(settings: Settings) -> Iterator[Goal]:
    model = backbone(settings)
    rounds = 3 if settings.quick else 6
    seconds = 2 if settings.quick else 4
    image = np.random.default_rng(0).integers(0, 256, (1, *model.contract.input_shape), np.uint8)

    settings.say(f"{rounds} rounds of OpenVINO's latency")
    session = get_backend("openvino").load(model.ir, OPENVINO)
    yield _goal(
        alternate(lambda: _p50(session, image), lambda: vendor.median_latency(model.ir, seconds), rounds),
        "OpenVINO",
        "benchmark_app -hint latency -api sync f32, same IR",
    )

    settings.say(f"{rounds} rounds of onnxruntime's latency")
    other = get_backend("onnxruntime").load(model.onnx, ONNXRUNTIME)
    plain = _plain_session(str(model.onnx))
    yield _goal(
        alternate(lambda: _p50(other, image), lambda: _plain_loop(plain, image), rounds),
        "onnxruntime",
        f"session.run in a loop of {_LOOPS}, same ONNX",
    )


def _goal(figures: Rounds, engine: str, against: str) -> Goal:
    deviations = [abs(ratio - 1) * 100 for ratio in figures.ratios]
    both_sides = min(figures.ratios) <= 1 <= max(figures.ratios)
    return Goal(
        AREA,
        f"deviation of edgetl's p50, {engine}",
        abs(figures.ratio - 1) * 100,
        "%",
        against,
        "<=",
        3.0,
        0.0 if both_sides else min(deviations),
        max(deviations),
        f"of {len(deviations)} rounds",
        f"{statistics.median(figures.ours):.2f} ms here, {statistics.median(figures.theirs):.2f} ms there",
    )


def _p50(session: Runnable, image: Images) -> float:
    found = measure({"engine": session}, image, LatencyOptions(min_samples=_LOOPS))["engine"]
    if isinstance(found, EdgetlError):
        raise found
    return found.p50.value


def _plain_session(model: str) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def _plain_loop(session: Any, image: Images) -> float:
    """Median milliseconds, after a few runs to warm up."""
    inputs = {session.get_inputs()[0].name: image}
    times = []
    for _ in range(_LOOPS + 20):
        start = time.perf_counter()
        session.run(None, inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[20:])
