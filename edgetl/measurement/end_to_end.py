"""End-to-end: from an encoded picture to logits, timed beside the engine alone and never mixed up with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.contract import Contract, UnreadableImageError, preprocess
from edgetl.errors import EdgetlError, InputError
from edgetl.measurement.engine import Images, Logits, Runnable
from edgetl.measurement.latency import Latency, LatencyOptions, Progress, measure, paired_ratio
from edgetl.quantity import Quantity

PICTURES = 64
"""Most encoded pictures held in memory."""

_ENGINE, _WHOLE = "engine only", "end-to-end"


class EndToEnd:
    """An engine that makes its own input: ``run`` decodes, orients, resizes and crops the next pictures.

    Of the images it is given only the number counts. The decoding is done by the thread that calls.

    Args:
        pictures: encoded, readable; they take turns.
    """

    def __init__(self, engine: Runnable, contract: Contract, pictures: Sequence[bytes]) -> None:
        if not pictures:
            raise InputError("end-to-end: there is no picture to decode")
        self._engine = engine
        self._contract = contract
        self._next = cycle(pictures)

    def run(self, images: Images) -> Logits:
        return self._engine.run(self._decoded(len(images)))

    def run_many(self, batches: Iterator[Images], consume: Callable[[int, Logits], None]) -> None:
        self._engine.run_many((self._decoded(len(images)) for images in batches), consume)

    def _decoded(self, count: int) -> Images:
        if count == 1:
            return preprocess(next(self._next), self._contract)[None]
        return np.stack([preprocess(next(self._next), self._contract) for _ in range(count)])


@dataclass(frozen=True)
class EndToEndLatency:
    """Both latencies of one engine, from the same interleaved rounds.

    Attributes:
        ratio: end-to-end over engine only, paired by round.
        pictures: how many took turns.
    """

    engine_only: Latency
    end_to_end: Latency
    ratio: Quantity
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; each latency says its ``scope``."""
        return {
            "engine_only": _scoped(_ENGINE, self.engine_only),
            "end_to_end": _scoped(_WHOLE, self.end_to_end),
            "ratio": self.ratio.to_dict(),
            "pictures": self.pictures,
        }


def _scoped(scope: str, latency: Latency) -> dict[str, Any]:
    facts = {"scope": scope, **latency.to_dict()}
    del facts["first_ms"]  # the engine has run before
    return facts


def measure_end_to_end(
    engine: Runnable,
    contract: Contract,
    pictures: Sequence[bytes],
    batch: int = 1,
    options: LatencyOptions | None = None,
    progress: Progress | None = None,
) -> EndToEndLatency:
    """Time an engine alone, on the first pictures decoded before, and from encoded pictures.

    Args:
        pictures: see :func:`read_pictures`.
        batch: images in one inference.

    Raises:
        InputError: if there is no picture.
        EdgetlError: if the engine fails, or a picture can't be decoded.
    """
    whole = EndToEnd(engine, contract, pictures)
    ready = np.stack([preprocess(pictures[i % len(pictures)], contract) for i in range(batch)])
    found = measure({_ENGINE: engine, _WHOLE: whole}, ready, options, progress)
    alone, everything = found[_ENGINE], found[_WHOLE]
    if isinstance(alone, EdgetlError):
        raise alone
    if isinstance(everything, EdgetlError):
        raise everything
    note = f"end-to-end: decode, orient, resize, crop and engine, {len(pictures)} pictures in memory in turn"
    told = replace(everything, notes=(note, *everything.notes))
    return EndToEndLatency(alone, told, paired_ratio(everything, alone), len(pictures))


def read_pictures(paths: Sequence[Path], contract: Contract, limit: int = PICTURES) -> list[bytes]:
    """At most ``limit`` encoded pictures, evenly picked, without those that can't be decoded.

    Raises:
        InputError: if none can.
    """
    step = max(1, len(paths) / limit)
    picked = [paths[int(index * step)] for index in range(min(limit, len(paths)))]
    found = [data for path in picked if (data := _readable(path, contract)) is not None]
    if not found:
        raise InputError(f"end-to-end: none of the {len(picked)} pictures can be decoded")
    return found


def _readable(path: Path, contract: Contract) -> bytes | None:
    try:
        data = path.read_bytes()
        preprocess(data, contract)
    except (OSError, UnreadableImageError):
        return None
    return data
