from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgetl.backends import get_backend
from edgetl.errors import BackendError, InputError
from edgetl.measurement.latency import LatencyOptions
from edgetl.measurement.scenarios import METRICS, Query, measure_multi_stream, measure_scenario
from tests.conftest import Kit

Consume = Callable[[int, np.ndarray], None]
QUICK = LatencyOptions(rounds=6, round_seconds=0.02, min_samples=64, max_seconds=2.0, warmup_seconds=0.01)
IMAGE = np.zeros((4, 4, 3), np.uint8)


class Backwards:
    """Answers the last batch first, with each image's first value; ``lose`` batches never come back."""

    def __init__(self, lose: int = 0) -> None:
        self.lose = lose
        self.sizes: list[int] = []

    def run(self, images: np.ndarray) -> np.ndarray:
        return images[:, 0, 0, :1].astype(np.float32)

    def run_many(self, batches: Iterator[np.ndarray], consume: Consume) -> None:
        given = list(enumerate(batches))
        self.sizes = [len(batch) for _, batch in given]
        for index, batch in reversed(given[self.lose :]):
            consume(index, self.run(batch))


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 6), (2, [2] * 3)])
def test_a_query_is_issued_in_batches_and_answered_in_order(batch: int, sizes: list[int]) -> None:
    engine = Backwards()
    samples = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    assert Query(engine, batch).run(samples)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert engine.sizes == sizes


def test_a_real_engine_answers_a_query_as_it_answers_one_by_one(kit: Kit, batch: np.ndarray) -> None:
    session = get_backend(kit.name).load(kit.int8_engine, kit.spec, throughput=True)
    found = Query(session).run(batch[:8])
    np.testing.assert_array_equal(found, np.concatenate([session.run(image[None]) for image in batch[:8]]))


def test_a_lost_sample_is_an_error() -> None:
    with pytest.raises(BackendError, match="8 batches returned 7"):
        Query(Backwards(lose=1)).run(np.zeros((8, 4, 4, 3), np.uint8))


def test_multi_stream_counts_queries_and_keeps_the_rule_for_percentiles(kit: Kit, batch: np.ndarray) -> None:
    session = get_backend(kit.name).load(kit.int8_engine, kit.spec, throughput=True)
    facts = measure_scenario("multi-stream", session, batch[0], options=QUICK)
    assert facts["samples_per_query"] == 8
    assert facts["metric"] == "p99"
    latency = facts["latency_ms"]
    assert latency["p50"]["low"] <= latency["p50"]["value"] <= latency["p50"]["high"]
    assert latency["n"] >= 64
    assert (latency["p99"] is None) == (latency["n"] < 662)


def test_a_query_takes_longer_than_one_of_its_samples() -> None:
    class Slow(Backwards):
        def run(self, images: np.ndarray) -> np.ndarray:
            total = sum(range(20000))
            return np.full((len(images), 1), total, np.float32)

    options = LatencyOptions(rounds=6, round_seconds=0.02, min_samples=6, max_seconds=1.0)
    several = measure_multi_stream({"a": Slow()}, IMAGE, 8, options)["a"]
    single = measure_scenario("single-stream", Slow(), IMAGE, options=options)
    assert single["samples_per_query"] == 1
    assert not isinstance(several, Exception)
    assert several.p50.value > 3 * single["latency_ms"]["p50"]["value"]


def test_offline_is_a_throughput(kit: Kit, batch: np.ndarray) -> None:
    session = get_backend(kit.name).load(kit.int8_engine, kit.spec, throughput=True)
    facts = measure_scenario("offline", session, batch[0], options=QUICK)
    assert facts["throughput_per_s"]["value"] > 0
    assert facts["metric"] == "throughput_per_s"
    assert "latency_ms" not in facts


def test_bad_questions_are_refused() -> None:
    assert set(METRICS) == {"single-stream", "multi-stream", "offline"}
    with pytest.raises(InputError, match="unknown scenario 'server'"):
        measure_scenario("server", Backwards(), IMAGE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="8 samples can't be issued in batches of 3"):
        measure_multi_stream({"a": Backwards()}, np.zeros((3, 4, 4, 3), np.uint8))
    with pytest.raises(BackendError, match="returned 7"):
        measure_scenario("multi-stream", Backwards(lose=1), IMAGE)
