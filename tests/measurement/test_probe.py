"""The micro-benchmarks' arithmetic; no test depends on how fast this machine is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgetl.errors import BackendError, InputError
from edgetl.measurement import probe
from edgetl.measurement.engine import Images, Logits
from edgetl.measurement.latency import LatencyOptions
from edgetl.measurement.probe import Probed, cache_bandwidths, cache_size, memory_bandwidth, peak_ops
from edgetl.quantity import Quantity

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Sleeper:
    """An engine that takes at least two milliseconds."""

    def run(self, images: Images) -> Logits:
        time.sleep(0.002)
        return np.zeros((1, 1), np.float32)

    def run_many(self, batches: Iterator[Images], consume: Callable[[int, Logits], None]) -> None:
        raise NotImplementedError


class Broken(Sleeper):
    def run(self, images: Images) -> Logits:
        raise RuntimeError("no such kernel")


def test_operations_a_second_follow_from_the_time_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_OPTIONS", LatencyOptions(6, 0.02, 20, 1.0, max_warmup_seconds=0.1))
    tops = peak_ops(Sleeper(), 10**9, IMAGE)
    assert 0 < tops.value <= 1.0  # 2e9 operations in at least 2 ms
    assert tops.low is not None and tops.high is not None
    assert tops.low <= tops.value <= tops.high
    assert tops.kind == "measured"
    assert tops.n >= 20


def test_an_engine_that_fails_is_an_error() -> None:
    with pytest.raises(BackendError, match="no such kernel"):
        peak_ops(Broken(), 10**9, IMAGE)


@pytest.mark.parametrize("threads", [1, 2])
def test_bandwidth_counts_what_is_read_and_what_is_written(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []
    real = probe._copy

    def counted(pair: probe.Copy, rounds: int) -> None:
        real(pair, rounds)
        assert (pair[0] == pair[1]).all()
        copied.append((pair[0].nbytes + pair[1].nbytes) * rounds)

    monkeypatch.setattr(probe, "_copy", counted)
    monkeypatch.setattr(probe, "_REPEATS", 3)
    monkeypatch.setattr(probe, "_enough", lambda seconds: 2)
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))  # every sample takes a second
    bandwidth = memory_bandwidth(threads, 1 << 16)
    assert sum(copied) == 3 * 2 * (1 << 16)
    assert bandwidth.value == pytest.approx(2 * (1 << 16) / 1e9)


def test_bandwidth_of_this_machine_is_a_measured_quantity_with_an_interval() -> None:
    bandwidth = memory_bandwidth(1, 1 << 20)
    assert bandwidth.low is not None and bandwidth.high is not None
    assert 0 < bandwidth.low <= bandwidth.value <= bandwidth.high
    assert (bandwidth.kind, bandwidth.n) == ("measured", probe._REPEATS)


@pytest.mark.parametrize(("threads", "size"), [(0, 1024), (4, 7)])
def test_no_thread_or_no_byte_for_each_is_refused(threads: int, size: int) -> None:
    with pytest.raises(InputError, match="bandwidth"):
        memory_bandwidth(threads, size)


def caches(root: Path, **sizes: str) -> Path:
    for name, size in sizes.items():
        folder = root / "sys/devices/system/cpu/cpu0/cache" / name
        folder.mkdir(parents=True)
        (folder / "size").write_text(f"{size}\n")
    return root


def test_the_last_level_cache_is_the_largest(tmp_path: Path) -> None:
    assert cache_size(caches(tmp_path / "pc", index0="32K", index2="1024K", index3="32M")) == 32 << 20
    assert cache_size(caches(tmp_path / "board", index0="32K", index1="", index2="512K")) == 512 << 10
    assert cache_size(tmp_path / "nothing") is None


def test_only_working_sets_that_the_cache_holds_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def bandwidth(threads: int, working_set: int | None = None) -> Quantity:
        asked.append(working_set)
        return Quantity(1.0, None, None, 1)

    monkeypatch.setattr(probe, "memory_bandwidth", bandwidth)
    monkeypatch.setattr(probe, "cache_size", lambda: 8 << 20)
    assert [size for size, _ in cache_bandwidths(2)] == asked == [512 << 10, 2 << 20]
    monkeypatch.setattr(probe, "cache_size", lambda: None)
    assert list(cache_bandwidths(2)) == []


def test_what_was_probed_survives_json() -> None:
    probed = Probed(
        Quantity(1.0, 0.9, 1.1, 50),
        None,
        Quantity(30.0, 29.0, 31.0, 21),
        ((1024, Quantity(9.0, None, None, 1)),),
    )
    assert Probed.from_dict(json.loads(json.dumps(probed.to_dict()))) == probed
