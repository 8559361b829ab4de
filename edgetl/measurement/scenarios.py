"""MLPerf Inference's scenarios for edge devices, by their names.

The rules of its load generator that matter for a figure are kept: what a query is, that the next one is
issued when the last is back, and how many a percentile needs. What it asks of a submission (minutes of run
time, accuracy on its own data sets) is not, so a figure of these is nobody's MLPerf result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.measurement.engine import Images, Logits, Runnable, as_batch
from edgetl.measurement.latency import Latency, LatencyOptions, Progress, measure
from edgetl.measurement.throughput import measure_throughput

Scenario = Literal["single-stream", "multi-stream", "offline"]
SINGLE_STREAM: Scenario = "single-stream"
MULTI_STREAM: Scenario = "multi-stream"
OFFLINE: Scenario = "offline"

METRICS: Mapping[Scenario, str] = {SINGLE_STREAM: "p90", MULTI_STREAM: "p99", OFFLINE: "throughput_per_s"}
"""The figure MLPerf ranks by."""

SAMPLES_PER_QUERY = 8
"""Of a multi-stream query in MLPerf's edge division."""


class Query:
    """An engine whose ``run`` is one multi-stream query: all samples issued together, done when all are back.

    Args:
        batch: samples the engine takes at once.
    """

    def __init__(self, engine: Runnable, batch: int = 1) -> None:
        self._engine = engine
        self._batch = batch

    def run(self, images: Images) -> Logits:
        """The outputs of a query's samples ``uint8 [N, H, W, 3]``, in their order.

        Raises:
            BackendError: if the engine does not return every sample.
        """
        found: dict[int, Logits] = {}
        starts = range(0, len(images), self._batch)
        self._engine.run_many((images[start : start + self._batch] for start in starts), found.__setitem__)
        if len(found) != len(starts):
            raise BackendError(f"multi-stream: a query of {len(starts)} batches returned {len(found)}")
        return np.concatenate([found[index] for index in range(len(starts))])

    def run_many(self, batches: Iterator[Images], consume: Any) -> None:
        """One query after the other, as the scenario has it."""
        for index, images in enumerate(batches):
            consume(index, self.run(images))


def measure_multi_stream(
    engines: Mapping[str, Runnable],
    image: Images,
    samples: int = SAMPLES_PER_QUERY,
    options: LatencyOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Latency | EdgetlError]:
    """Latency of queries of ``samples`` each, for several engines in interleaved rounds.

    Args:
        engines: sessions opened for throughput keep several samples in flight.
        image: ``uint8 [H, W, 3]``, or a batch ``[N, H, W, 3]`` for engines of that batch size.
        options: count queries.

    Returns:
        See ``latency.measure``; a run is a query, so a latency is that of all its samples.

    Raises:
        InputError: if ``samples`` is not a multiple of the batch.
    """
    batch = as_batch(image)
    if samples < 1 or samples % len(batch):
        raise InputError(
            f"multi-stream: a query of {samples} samples can't be issued in batches of {len(batch)}"
        )
    query = np.concatenate([batch] * (samples // len(batch)))
    queries = {name: Query(engine, len(batch)) for name, engine in engines.items()}
    return measure(queries, query, options, progress)


def measure_scenario(
    scenario: Scenario,
    engine: Runnable,
    image: Images,
    samples: int = SAMPLES_PER_QUERY,
    options: LatencyOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """One engine in one scenario.

    Args:
        samples: of a multi-stream query.
        options: of the latencies; offline, all stretches together are as long as all rounds.

    Returns:
        JSON-ready: ``scenario``, ``samples_per_query`` (None for offline, whose only query has them all),
        ``metric``, and ``latency_ms`` (see ``Latency.to_dict``) or ``throughput_per_s``.

    Raises:
        InputError: if there is no such scenario, or the image does not fit.
        EdgetlError: if the engine fails.
    """
    if scenario not in METRICS:
        raise InputError(f"unknown scenario {scenario!r}; known: {', '.join(METRICS)}")
    facts: dict[str, Any] = {"scenario": scenario, "metric": METRICS[scenario]}
    if scenario == OFFLINE:
        o = options or LatencyOptions()
        rate = measure_throughput(engine, image, o.rounds * o.round_seconds)
        return {**facts, "samples_per_query": None, "throughput_per_s": rate.to_dict()}
    if scenario == MULTI_STREAM:
        found = measure_multi_stream({scenario: engine}, image, samples, options, progress)[scenario]
    else:
        samples = len(as_batch(image))
        found = measure({scenario: engine}, image, options, progress)[scenario]
    if isinstance(found, EdgetlError):
        raise found
    return {**facts, "samples_per_query": samples, "latency_ms": found.to_dict()}
