"""Which training images calibrate: drawn by content and seed, never from the held-out side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from edgetl.backends.base import Calibration, UInt8
from edgetl.contract import Contract, UnreadableImageError
from edgetl.contract.stream import stream
from edgetl.data import Sample
from edgetl.errors import InputError
from edgetl.profiles import Recipe


def choose(samples: Sequence[Sample], recipe: Recipe, seed: int = 0) -> tuple[Sample, ...]:
    """Distinct calibration images, in an order that depends on content and seed only.

    ``stratified`` takes the classes in turn until the recipe's number is reached; ``random`` ignores them.

    Raises:
        InputError: if there are no samples.
    """
    if not samples:
        raise InputError("there are no images to calibrate with")
    distinct = {sample.digest: sample for sample in samples}
    ranked = sorted(distinct.values(), key=lambda sample: _rank(sample, seed))
    if recipe.selection == "stratified":
        by_class: dict[int, list[Sample]] = {}
        for sample in ranked:
            by_class.setdefault(sample.label, []).append(sample)
        rounds = zip_longest(*(by_class[label] for label in sorted(by_class)))
        ranked = [sample for turn in rounds for sample in turn if sample is not None]
    return tuple(ranked[: recipe.images])


def calibration_set(samples: Sequence[Sample], contract: Contract) -> Calibration:
    """The images as a quantizer takes them: decoded on each pass, one in memory at a time.

    Images that can't be read are an error at this point: the caller has left them out.
    """

    def batches() -> Iterator[UInt8]:
        for sample, image in zip(samples, stream((item.path for item in samples), contract), strict=True):
            if isinstance(image, UnreadableImageError):
                raise InputError(f"{sample.path}: {image}")
            yield image[None]

    return Calibration(batches, len(samples))


def _rank(sample: Sample, seed: int) -> str:
    return hashlib.sha256(f"calibration:{seed}:{sample.digest}".encode()).hexdigest()
