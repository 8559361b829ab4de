from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.device.state import State, state_reader
from edgetl.errors import BackendError, InputError
from edgetl.measurement.levels import level_changes
from edgetl.measurement.sustained import MAX_WINDOWS, sustain

IMAGE = np.zeros((4, 4, 3), np.uint8)
OUTPUT = np.zeros((1, 2), np.float32)
SEEDS = range(5)


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetl.device.state.nvml_gpus", lambda: ())


class Board:
    """An engine on a machine whose clock and temperature are real files; only runs move the time forward.

    ``at(minute)`` gives MHz and degrees; a run takes ``cycles / MHz`` with some noise.
    """

    def __init__(self, root: Path, at: Callable[[float], tuple[float, float]], seconds: float = 0.05) -> None:
        self.mhz_file = root / "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq"
        zone = root / "sys/class/thermal/thermal_zone0"
        self.heat_file = zone / "temp"
        for path in (self.mhz_file, self.heat_file):
            path.parent.mkdir(parents=True)
        (zone / "type").write_text("cpu-thermal")
        self.at, self.seconds, self.ns, self.runs = at, seconds, 0, 0
        self.noise = np.random.default_rng(0).normal(1, 0.01, 997)
        self.mhz = self.heat = 0.0
        self.refresh()

    def refresh(self) -> None:
        now = self.at(self.ns / 60e9)
        if now == (self.mhz, self.heat):
            return
        self.mhz, self.heat = now
        self.mhz_file.write_text(str(round(self.mhz * 1e3)))
        self.heat_file.write_text(str(round(self.heat * 1e3)))

    def run(self, images: np.ndarray) -> np.ndarray:
        assert images.shape == (1, 4, 4, 3)
        if self.runs % 8 == 0:
            self.refresh()
        self.ns += round(1e9 * self.seconds * 2400 / self.mhz * self.noise[self.runs % 997])
        self.runs += 1
        return OUTPUT

    def run_many(self, batches: Iterator[np.ndarray], consume: Callable[[int, np.ndarray], None]) -> None:
        raise AssertionError("sustained is single-stream")

    def clock(self) -> int:
        return self.ns


def sustained(root: Path, board: Board, minutes: float) -> dict[str, Any]:
    result = sustain(board, IMAGE, minutes, state_reader(root), clock=board.clock)
    assert json.loads(json.dumps(result)) == result
    return result


def test_a_steady_board_has_nothing_to_report(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0, 60.0))
    result = sustained(tmp_path, board, 10)
    assert len(result["windows"]) <= MAX_WINDOWS
    assert result["seconds"] == pytest.approx(600, abs=3)
    assert sum(window["n"] for window in result["windows"]) == result["n"]
    assert result["n"] == board.runs - result["warmup_runs"]
    assert result["changes"] == [] and result["notes"] == [] and result["throttled"] is False
    slowdown = result["slowdown"]
    assert slowdown["low"] <= 1.0 <= slowdown["high"]
    assert slowdown["high"] - slowdown["low"] < 0.02
    window = result["windows"][3]
    assert window["mhz"] == 2400.0 and window["temperature_c"] == 60.0 and window["gpu_mhz"] is None
    assert window["t_s"] == pytest.approx(7.5, abs=0.3)
    assert window["p50_ms"] == pytest.approx(50, rel=0.02)
    assert window["p99_ms"] is None  # some 50 runs do not support it


def test_throttling_is_found_with_when_and_how_much(tmp_path: Path) -> None:
    def at(minute: float) -> tuple[float, float]:
        return (2400.0, 70.0 + 4 * min(minute, 1)) if minute < 3.2 else (1800.0, 91.0)

    result = sustained(tmp_path, Board(tmp_path, at), 10)
    assert result["throttled"] is True
    (change,) = result["changes"]
    assert change["t_s"] == pytest.approx(3.2 * 60, abs=5)
    assert change["text"] == "throttled: clock fell from 2400 to 1800 MHz at 3.2 min, 91 C after 74, p50 +33%"
    assert change["hotter"] is True
    assert change["after"]["temperature_c"] == 91.0
    assert result["slowdown"]["low"] < 4 / 3 < result["slowdown"]["high"]
    assert result["first"]["p50_ms"]["value"] == pytest.approx(50, rel=0.01)
    assert result["last"]["p50_ms"]["value"] == pytest.approx(66.7, rel=0.01)
    assert result["last"]["seconds"] == 60.0
    assert result["last"]["p50_ms"]["n"] == pytest.approx(60 / 0.0667, rel=0.05)


def test_a_slow_down_at_the_same_clock_is_not_called_throttling(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0, 60.0))
    steady = board.run

    def disturbed(images: np.ndarray) -> np.ndarray:
        if board.ns > 120e9:
            board.ns += 10_000_000
        return steady(images)

    board.run = disturbed  # type: ignore[method-assign]
    result = sustained(tmp_path, board, 4)
    assert result["throttled"] is False
    assert [c["text"] for c in result["changes"]] == [
        "slower at 2.0 min, p50 +20%: clock stayed at 2400 MHz, 60 C"
    ]


def test_a_machine_without_a_clock_is_not_called_fine(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0 if minute < 1 else 1200.0, 60.0))
    result = sustain(board, IMAGE, 2, lambda: State(None, None, None), clock=board.clock)
    assert result["throttled"] is None
    assert result["changes"][0]["text"] == "slower at 1.0 min, p50 +100%: no clock can be read"
    assert "no clock" in result["notes"][0]


def test_a_slow_end_that_is_too_short_for_a_level_is_told(tmp_path: Path) -> None:
    found = sustained(tmp_path, Board(tmp_path, lambda minute: (2400 if minute < 0.24 else 1200, 60)), 0.3)
    assert found["changes"] == [] and found["slowdown"]["value"] > 1.03
    assert any("run it for longer" in note for note in found["notes"])


def test_a_gpus_clock_counts_and_recovery_is_told(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0 if minute < 2 or minute > 4 else 1600.0, 70.0))
    result = sustain(
        board, IMAGE, 6, lambda: State(None, 1020.0 if board.mhz > 2000 else 680.0, None), clock=board.clock
    )
    first, second = result["changes"]
    assert first["text"] == "throttled: GPU clock fell from 1020 to 680 MHz at 2.0 min, p50 +50%"
    assert second["text"] == "faster at 4.0 min, p50 -33%: GPU clock rose from 680 to 1020 MHz"
    assert (first["throttled"], second["throttled"]) == (True, False)
    assert result["slowdown"]["value"] == pytest.approx(1.0, abs=0.01)


def test_a_clock_that_swings_is_noted(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0 if int(minute * 12) % 2 else 1600.0, 85.0))
    result = sustained(tmp_path, board, 4)
    assert any(note.startswith("alternates: ") for note in result["notes"])


def test_memory_and_windows_are_bounded(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0, 60.0), seconds=0.0004)
    kept: list[int] = []
    result = sustain(
        board,
        IMAGE,
        0.5,
        lambda: State(1.0, None, None),
        lambda share: kept.append(gc.isenabled()),
        board.clock,
    )
    assert 29 <= len(result["windows"]) <= 31
    assert all(2400 < window["n"] < 2600 for window in result["windows"])
    assert all(window["p99_ms"] is not None for window in result["windows"])
    assert not any(kept) and gc.isenabled()
    assert result["first"]["seconds"] == pytest.approx(10, abs=0.1)  # a third of half a minute


def test_a_very_slow_engine_and_a_very_short_run(tmp_path: Path) -> None:
    slow = Board(tmp_path / "a", lambda minute: (2400.0, 60.0), seconds=20.0)
    result = sustained(tmp_path / "a", slow, 2)
    assert all(window["n"] == 1 for window in result["windows"])
    assert result["slowdown"]["low"] is None  # too few windows for an interval
    short = Board(tmp_path / "b", lambda minute: (2400.0, 60.0))
    assert len(sustained(tmp_path / "b", short, 0.005)["windows"]) == 1


def test_progress_rises_to_one(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0, 60.0))
    shares: list[float] = []
    sustain(board, IMAGE, 1, state_reader(tmp_path), shares.append, board.clock)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0, abs=0.01)


def test_errors(tmp_path: Path) -> None:
    board = Board(tmp_path, lambda minute: (2400.0, 60.0))
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="minutes"):
            sustain(board, IMAGE, minutes)
    with pytest.raises(InputError, match="image"):
        sustain(board, IMAGE.astype(np.float32), 1)
    steady = board.run

    def failing(images: np.ndarray) -> np.ndarray:
        if board.ns > 30e9:
            raise RuntimeError("device lost\n")
        return steady(images)

    board.run = failing  # type: ignore[method-assign]
    with pytest.raises(BackendError, match=r"sustained, after \d+ runs: .*device lost"):
        sustain(board, IMAGE, 1, state_reader(tmp_path), clock=board.clock)
    assert gc.isenabled()


def noise(seed: int, n: int, scale: float = 0.02) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, scale, n)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_level_is_one_level(seed: int) -> None:
    assert level_changes(noise(seed, 240)) == []
    assert level_changes(noise(seed, 240, 0.1)) == []
    spiky = noise(seed, 240)
    spiky[::23] *= 3
    assert level_changes(spiky) == []


def test_noise_is_seldom_called_a_change() -> None:
    assert sum(bool(level_changes(noise(seed, 240, 0.15))) for seed in range(200)) <= 6


@pytest.mark.parametrize("seed", SEEDS)
def test_steps_are_found_where_they_are(seed: int) -> None:
    trace = noise(seed, 240)
    trace[80:] *= 1.33
    trace[200:] *= 0.9
    first, second = level_changes(trace)
    assert abs(first - 80) <= 1 and abs(second - 200) <= 2


def test_a_passing_disturbance_has_a_begin_and_an_end() -> None:
    trace = noise(3, 240)
    trace[100:140] *= 1.5
    begin, end = level_changes(trace)
    assert abs(begin - 100) <= 1 and abs(end - 140) <= 1


def test_a_step_below_the_tolerance_is_none() -> None:
    trace = noise(0, 240, 0.001)
    trace[120:] *= 1.02
    assert level_changes(trace) == []
    assert level_changes(trace, tolerance=0.01) == [120]


def test_a_drift_comes_out_as_rising_steps() -> None:
    edges = level_changes(noise(0, 240, 0.005) * np.linspace(1, 1.5, 240))
    assert 2 <= len(edges) <= 15 and edges == sorted(edges)


def test_short_and_constant_traces() -> None:
    assert level_changes([]) == []
    assert level_changes([1.0] * 9) == []
    assert level_changes([1.0] * 100) == []
    assert level_changes([1.0] * 20 + [2.0] * 20) == [20]
