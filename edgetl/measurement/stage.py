"""Measuring engines and keeping what was measured, under the engine, the images and the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Sample
from edgetl.engines import REFERENCE, Engine
from edgetl.errors import EdgetlError
from edgetl.files import digest_of
from edgetl.measurement.accuracy import Predictions, predict_all
from edgetl.measurement.latency import Latency, LatencyOptions, measure, paired_ratio
from edgetl.measurement.throughput import measure_throughput
from edgetl.versions import version_of

_LOGITS = "logits.npy"
_LATENCY = "latency.json"


@dataclass(frozen=True)
class Speed:
    """How fast an engine is, as JSON-ready facts, taken side by side with the others of its group.

    Attributes:
        latency: see ``measurement.latency.Latency.to_dict``; None where nothing was timed.
        throughput: a quantity's form, images a second; None where nothing was timed.
        precision: read back from the runtime.
        placement: read back from the runtime.
        speedup: paired ratio of the reference's latency to this engine's, by reference name.
        measured_at: UTC, ISO 8601.
        layer_times: see ``backends.base.LayerTime``; empty where the runtime does not tell.
    """

    latency: Mapping[str, Any] | None
    throughput: Mapping[str, Any] | None
    precision: Mapping[str, Any]
    placement: Mapping[str, Any]
    speedup: Mapping[str, Any]
    measured_at: str
    layer_times: Sequence[Mapping[str, Any]] = ()


def measure_accuracy(
    context: Context, engine: Engine, samples: Sequence[Sample], contract: Contract
) -> Predictions:
    """Logits of the held-out images through the deployed engine and its own preprocessing.

    An engine that can't be loaded here is answered for by its simulator, a slow one on fewer images.
    """
    rows = _worth_simulating(engine, samples)
    samples = [samples[row] for row in rows]
    engine = engine.answering()
    parts = {
        "engine": engine.digest,
        **context.engine_parts(engine.spec),
        "contract": contract.fingerprint,
        "pillow": version_of("pillow"),
        "images": [sample.digest for sample in samples],
    }

    def make(folder: Path) -> Mapping[str, Any]:
        found = predict_all(engine.open(throughput=True), samples, contract, advance)
        np.save(folder / _LOGITS, found.logits)
        return {"rows": list(found.rows), "unreadable": found.unreadable}

    with context.observer.stage(f"accuracy of {engine.name}") as advance:
        entry = context.store.get("accuracy", parts, make)
    logits = np.load(entry.file(_LOGITS), allow_pickle=False)
    found = tuple(rows[position] for position in entry.facts["rows"])
    return Predictions(found, logits, dict(entry.facts["unreadable"]))


def _worth_simulating(engine: Engine, samples: Sequence[Sample]) -> list[int]:
    """Indices of the images to predict; of too many for a slow simulator a choice, the classes in turn.

    The choice depends on the images alone, so that targets share it.
    """
    limit = None
    if not engine.standing.loads:
        limit = get_backend(engine.spec.backend).simulated_images(engine.spec)
    if limit is None or limit >= len(samples):
        return list(range(len(samples)))
    classes: dict[int, list[int]] = {}
    for row in sorted(range(len(samples)), key=lambda row: samples[row].digest):
        classes.setdefault(samples[row].label, []).append(row)
    turns = zip_longest(*(classes[label] for label in sorted(classes)))
    in_turn = [row for turn in turns for row in turn if row is not None]
    return sorted(in_turn[:limit])


def measure_speed(
    context: Context,
    engines: Sequence[Engine],
    image: np.ndarray,
    options: LatencyOptions | None = None,
    *,
    again: bool = False,
) -> list[Speed | str]:
    """Latency of all engines in interleaved rounds, then each one's throughput.

    Args:
        image: uint8 ``[H, W, 3]``.
        again: measure even if the store has these engines' figures.

    Returns:
        In the order of ``engines``; a string is the one-line error of an engine that failed.
    """
    options = options or LatencyOptions()
    parts: dict[str, Any] = {
        "engines": {engine.name: [engine.digest, context.engine_parts(engine.spec)] for engine in engines},
        "options": asdict(options),
        "pace": context.pace,
        "image": digest_of(image.tolist()),
    }
    if again:
        parts["again"] = datetime.now(timezone.utc).isoformat()

    def make(folder: Path) -> Mapping[str, Any]:
        speeds = _measure(engines, image, options, lambda share: advance(round(100 * share), 100))
        (folder / _LATENCY).write_text(json.dumps(speeds))
        return {}

    with context.observer.stage("latency and throughput") as advance:
        entry = context.store.get("latency", parts, make)
    speeds = json.loads(entry.file(_LATENCY).read_text())
    found = [speeds[engine.name] for engine in engines]
    return [facts if isinstance(facts, str) else Speed(**facts) for facts in found]


def untimed(engine: Engine) -> Speed:
    """Precision and placement of an engine on a machine whose times are worth nothing."""
    session = engine.open()
    return Speed(
        latency=None,
        throughput=None,
        precision=session.precision().to_dict(),
        placement=session.placement().to_dict(),
        speedup={},
        measured_at=now(),
    )


def now() -> str:
    """As results tell when they were measured, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def wrong_precision(engine: Engine, precision: Mapping[str, Any]) -> str | None:
    """What to say of an engine that computes in another precision than was asked for.

    Where the runtime tells nothing (a provider that compiled the whole graph), the result says "unknown".

    Args:
        precision: see ``backends.base.Precision.to_dict``.
    """
    used = precision["used"]
    if used in (engine.spec.precision, "unknown"):
        return None
    layers = ", ".join(f"{count} {name}" for name, count in precision["executed"].items())
    return f"asked for {engine.spec.precision}, the runtime computes mostly in {used} (layers: {layers})"


def _measure(
    engines: Sequence[Engine], image: np.ndarray, options: LatencyOptions, advance: Any
) -> dict[str, Any]:
    results: dict[str, Any] = {}
    sessions = {}
    for engine in engines:
        try:
            sessions[engine.name] = engine.open()
        except EdgetlError as error:
            results[engine.name] = str(error)
    latencies = (
        measure(sessions, image, options, lambda name, share: advance(0.6 * share)) if sessions else {}
    )
    for position, engine in enumerate(engines):
        latency = latencies.get(engine.name)
        if isinstance(latency, EdgetlError):
            results[engine.name] = str(latency)
        elif latency is not None:
            session = sessions[engine.name]
            rate = measure_throughput(
                engine.open(throughput=True), image, options.rounds * options.round_seconds
            )
            results[engine.name] = asdict(
                Speed(
                    latency=_with_notes(latency, session.notes),
                    throughput=rate.to_dict(),
                    precision=session.precision().to_dict(),
                    placement=session.placement().to_dict(),
                    layer_times=[layer.to_dict() for layer in session.layer_times()],
                    speedup=_speedups(latency, latencies),
                    measured_at=now(),
                )
            )
        advance(0.6 + 0.4 * (position + 1) / len(engines))
    return results


def _with_notes(latency: Latency, notes: Sequence[str]) -> dict[str, Any]:
    """The latency's facts, with what the session said of itself while it was taken."""
    facts = latency.to_dict()
    return {**facts, "notes": [*facts["notes"], *notes]}


def _speedups(latency: Latency, all_of_them: Mapping[str, Latency | EdgetlError]) -> dict[str, Any]:
    return {
        name: paired_ratio(reference, latency).to_dict()
        for name, reference in all_of_them.items()
        if name.startswith(REFERENCE) and isinstance(reference, Latency) and reference is not latency
    }
