"""What a bench tells besides accuracy, latency and throughput: each of it JSON-ready, under its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import Session
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.device import affinity
from edgetl.device.power import absent, sensors
from edgetl.engines import Engine
from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.measurement.cold_start import cold_start
from edgetl.measurement.end_to_end import measure_end_to_end, read_pictures
from edgetl.measurement.energy import measure_energy
from edgetl.measurement.latency import SETTLING_SECONDS, LatencyOptions
from edgetl.measurement.reconcile import reconcile
from edgetl.measurement.scenarios import MULTI_STREAM, measure_scenario
from edgetl.measurement.sustained import sustain
from edgetl.measurement.turns import in_turns
from edgetl.progress import Advance

_PERCENT = 100
_ANOTHER_STATE = 1.25
"""Ratio of two medians of one engine that no interval of a run explains."""
_PAIRS_PER_SECOND = 20
_FEWEST_PAIRS = 8
_LONGEST_LAUNCH = 3
"""Times the seconds asked for: a launch of engines that are slow, or whose threads need pauses."""
Facts = Mapping[str, Any]
Step = Callable[[Advance], Facts]


@dataclass(frozen=True)
class Wanted:
    """What to measure.

    Attributes:
        again: take latencies anew even if the store has them.
        brief: nothing but accuracy, latency, throughput and placement.
        seconds: how long a latency or a throughput is taken, at least.
        minutes: length of the sustained run; None for none.
        reconcile: run the vendor's own tool too.
        install: install on a device what its Python lacks, into an environment of edgetl's own.
    """

    again: bool = True
    brief: bool = False
    seconds: float = 2.0
    minutes: float | None = None
    reconcile: bool = False
    install: bool = False

    def __post_init__(self) -> None:
        durations = (self.seconds,) if self.minutes is None else (self.seconds, self.minutes)
        if not all(0 < each < math.inf for each in durations):
            raise InputError(f"bench: durations must be positive, got {self.seconds} s, {self.minutes} min")

    @property
    def options(self) -> LatencyOptions:
        """Rounds that take so long; ten times as long where a slow engine needs it for its percentiles."""
        rounds = LatencyOptions().rounds
        return LatencyOptions(round_seconds=self.seconds / rounds, max_seconds=10 * self.seconds)


@dataclass(frozen=True)
class Subject:
    """An engine on this machine, with what it is given.

    Attributes:
        image: uint8 ``[H, W, 3]``.
        pictures: encoded images, for what is measured end to end; may be none.
        against: another engine with the same input, to take turns with.
    """

    engine: Engine
    contract: Contract
    image: np.ndarray
    pictures: Sequence[Path]
    against: Engine | None = None


def measure_details(context: Context, subject: Subject, wanted: Wanted) -> dict[str, Any]:
    """All that was asked for, by name; ``not_measured`` has a line for each that failed.

    A failure of one leaves the others alone.
    """
    session = subject.engine.open()
    found: dict[str, Any] = {"threads": affinity.facts(subject.engine.spec.threads, session.threads)}
    failed: list[str] = []
    for name, step in _steps(session, subject, wanted):
        title = name.replace("_", " ")
        try:
            with context.observer.stage(title) as advance:
                found[name] = step(advance)
        except EdgetlError as error:
            failed.append(f"{title}: {error}")
    return {**found, "not_measured": failed}


def contradictions(p50: float, throughput: float | None, details: Facts) -> list[str]:
    """Where later figures of the same engine say that the machine was in another state when p50 was taken.

    Args:
        p50: ms, one image at a time.
        throughput: images a second, with more than one in flight.
    """
    later = {
        "end to end": details.get("end_to_end", {}).get("engine_only", {}).get("p50"),
        "sustained": details.get("sustained", {}).get("first", {}).get("p50_ms"),
        "reconciliation": details.get("reconciliation", {}).get("ours_ms"),
    }
    notes = [
        f"not steady: p50 was {p50:.3f} ms, and {found['value']:.3f} ms when it was taken again ({name})"
        for name, found in later.items()
        if found and not 1 / _ANOTHER_STATE < found["value"] / p50 < _ANOTHER_STATE
    ]
    if throughput and throughput * p50 / 1e3 < 1 / _ANOTHER_STATE:
        alone = 1e3 / p50
        notes.append(
            f"not steady: {throughput:.0f} images/s with more than one in flight, {alone:.0f} one by one"
        )
    return notes


def _steps(session: Session, subject: Subject, wanted: Wanted) -> Iterator[tuple[str, Step]]:
    engine, image = subject.engine, subject.image
    if not wanted.brief:
        yield from _usual_steps(session, subject, wanted.options)
    if (base := subject.against) is not None:
        yield "against", lambda advance: _against(base, engine, image, wanted.seconds, advance)
    if wanted.minutes:
        minutes = wanted.minutes
        yield (
            "sustained",
            lambda advance: sustain(
                session, image, minutes, progress=lambda share: advance(round(_PERCENT * share), _PERCENT)
            ),
        )
    if wanted.reconcile:
        yield "reconciliation", lambda advance: _reconcile(session, engine, image)


def _usual_steps(session: Session, subject: Subject, options: LatencyOptions) -> Iterator[tuple[str, Step]]:
    engine, image = subject.engine, subject.image
    yield "cold_start", lambda advance: cold_start(_file(engine), engine.spec, (1, *image.shape))
    yield (
        "multi_stream",
        lambda advance: measure_scenario(MULTI_STREAM, engine.open(throughput=True), image, options=options),
    )
    if subject.pictures:
        yield "end_to_end", lambda advance: _end_to_end(session, subject, options)
    yield "energy", lambda advance: _energy(session, image)


def _file(engine: Engine) -> Path:
    return engine.folder / engine.spec.file


def _end_to_end(session: Session, subject: Subject, options: LatencyOptions) -> Facts:
    pictures = read_pictures(subject.pictures, subject.contract)
    return measure_end_to_end(session, subject.contract, pictures, options=options).to_dict()


def _against(base: Engine, engine: Engine, image: np.ndarray, seconds: float, advance: Advance) -> Facts:
    pairs = max(_FEWEST_PAIRS, round(_PAIRS_PER_SECOND * seconds))
    longest = _LONGEST_LAUNCH * seconds
    spins = any(get_backend(each.spec.backend).spins for each in (base, engine))
    pause = SETTLING_SECONDS if spins else 0.0
    turns = in_turns(
        base.open, engine.open, image, pairs=pairs, pause=pause, longest=longest, advance=advance
    )
    return {
        "digest": base.digest,
        "target": base.name,
        "bundle": str(base.folder),
        "ratio": turns.ratio.to_dict(),
        "launches": list(turns.launches),
    }


def _energy(session: Session, image: np.ndarray) -> Facts:
    batch = image[None]

    def run() -> int:
        session.run(batch)
        return 1

    return measure_energy(run, sensors(), absent())


def _reconcile(session: Session, engine: Engine, image: np.ndarray) -> Facts:
    seconds = 3.0
    backend = get_backend(engine.spec.backend)
    tool = backend.vendor_tool(_file(engine), engine.spec, seconds)
    if tool is None:
        raise BackendError(f"{backend.name} has no tool of its own here that times an engine")
    return reconcile(session, image, tool, seconds=seconds)
