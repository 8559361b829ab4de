from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgetl.contract import Contract, UnreadableImageError, preprocess
from edgetl.contract.stream import stream
from edgetl.data import Sample


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_in_order_whatever_the_number_of_threads(
    workers: int, samples: tuple[Sample, ...], contract: Contract
) -> None:
    paths = [sample.path for sample in samples]
    found = list(stream(paths, contract, workers=workers))
    assert len(found) == len(paths)
    for path, image in zip(paths, found, strict=True):
        assert np.array_equal(image, preprocess(path, contract))


def test_a_bad_picture_keeps_its_place(
    tmp_path: Path, samples: tuple[Sample, ...], contract: Contract
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    found = list(stream([samples[0].path, bad, samples[1].path], contract))
    assert [isinstance(item, UnreadableImageError) for item in found] == [False, True, False]


def test_nothing_in_nothing_out(contract: Contract) -> None:
    assert list(stream([], contract)) == []


def test_an_endless_source_is_read_ahead_by_a_bounded_number(
    samples: tuple[Sample, ...], contract: Contract
) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        for sample in itertools.cycle(samples):
            taken += 1
            yield sample.path

    decoded = stream(endless(), contract, workers=2)
    for _ in range(50):
        next(decoded)
    decoded.close()  # type: ignore[attr-defined]
    assert taken < 50 + 100
