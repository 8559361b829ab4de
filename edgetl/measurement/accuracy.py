"""Predictions of a deployed engine on files, through its own decode, resize and crop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgetl.contract import Contract, UnreadableImageError
from edgetl.contract.stream import stream
from edgetl.data import Sample
from edgetl.errors import EdgetlError
from edgetl.measurement.engine import Images, Logits, Runnable

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predictions:
    """Logits of readable images.

    Attributes:
        rows: for each row of ``logits`` the index of its sample.
        logits: float32 ``[len(rows), classes]``.
        unreadable: reason by digest.
    """

    rows: tuple[int, ...]
    logits: Logits
    unreadable: dict[str, str]


def predict_all(
    engine: Runnable, samples: Sequence[Sample], contract: Contract, progress: Progress | None = None
) -> Predictions:
    """Run every sample through the engine, one image an inference, several in flight.

    Raises:
        EdgetlError: if no image can be read.
        InputError: if a file can't be read, which may be otherwise the next time.
    """
    rows: list[int] = []
    outputs: dict[int, Logits] = {}
    unreadable: dict[str, str] = {}

    def feed() -> Iterator[Images]:
        decoded = stream((sample.path for sample in samples), contract)
        for position, (sample, image) in enumerate(zip(samples, decoded, strict=True)):
            if progress:
                progress(position, len(samples))
            if isinstance(image, UnreadableImageError):
                unreadable[sample.digest] = str(image)
                continue
            rows.append(position)
            yield image[None]

    def consume(index: int, output: Logits) -> None:
        outputs[index] = output

    engine.run_many(feed(), consume)
    if not rows:
        raise EdgetlError("none of the images could be read")
    return Predictions(
        tuple(rows), np.concatenate([outputs[index] for index in range(len(rows))]), unreadable
    )
