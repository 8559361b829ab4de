"""Two engines in turns, on engines whose time is known."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgetl.errors import BackendError
from edgetl.measurement.engine import Images, Logits
from edgetl.measurement.turns import in_turns

IMAGE = np.zeros((8, 8, 3), np.uint8)
OUTPUT = np.zeros((1, 2), np.float32)


class Spinning:
    """Takes ``seconds`` a run."""

    loaded = 0

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        Spinning.loaded += 1

    def run(self, images: Images) -> Logits:
        assert images.shape == (1, 8, 8, 3)
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return OUTPUT

    def run_many(self, batches: Iterator[Images], consume: Callable[[int, Logits], None]) -> None:
        raise AssertionError("turns are of single runs")


def test_the_ratio_is_new_over_base_over_fresh_loads() -> None:
    Spinning.loaded = 0
    told: list[tuple[int, int]] = []
    found = in_turns(
        lambda: Spinning(0.0002),
        lambda: Spinning(0.0003),
        IMAGE,
        launches=4,
        pairs=12,
        advance=lambda done, total: told.append((done, total)),
    )
    assert found.ratio.value == pytest.approx(1.5, rel=0.1)
    assert found.ratio.n == len(found.launches) == 4
    assert found.ratio.low is not None and found.ratio.high is not None
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert Spinning.loaded == 8
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert gc.isenabled()


def test_a_pause_comes_before_each_turn() -> None:
    begin = time.perf_counter()
    in_turns(lambda: Spinning(0.0), lambda: Spinning(0.0), IMAGE, launches=1, pairs=5, pause=0.02)
    assert time.perf_counter() - begin >= 2 * 5 * 0.02


def test_slow_engines_get_fewer_pairs_but_eight() -> None:
    runs = []

    class Counting(Spinning):
        def run(self, images: Images) -> Logits:
            runs.append(self)
            return super().run(images)

    in_turns(lambda: Counting(0.002), lambda: Counting(0.002), IMAGE, launches=1, pairs=40, longest=0.01)
    assert len(runs) == 2 * (3 + 8 * 5)


def test_an_engine_that_fails_is_one_line() -> None:
    def broken() -> Spinning:
        raise RuntimeError("no\nsuch device")

    with pytest.raises(BackendError, match="no such device") as caught:
        in_turns(lambda: Spinning(0.0), broken, IMAGE)
    assert "\n" not in str(caught.value)
