from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.device import nvml
from edgetl.device.power import Sensor, absent, sensors
from edgetl.errors import BackendError, InputError
from edgetl.measurement.energy import STRETCHES, measure_energy
from edgetl.measurement.meters import integrate

WRAP = 50_000_000


class Machine:
    """A package whose counter is a real file, under a clock that only work and sleep move forward.

    ``idle`` and ``busy`` are watts; every inference takes ``seconds``.
    """

    def __init__(self, root: Path, idle: float = 5.0, busy: float = 25.0, seconds: float = 0.01) -> None:
        self.zone = root / "sys/class/powercap/intel-rapl:0"
        self.zone.mkdir(parents=True)
        (self.zone / "name").write_text("package-0\n")
        (self.zone / "max_energy_range_uj").write_text(f"{WRAP}\n")
        self.idle, self.busy, self.seconds = idle, busy, seconds
        self.now, self.joules, self.runs = 0.0, 49.0, 0  # soon to wrap
        self.rng = np.random.default_rng(1)
        self.advance(0.0, idle)

    def advance(self, seconds: float, watts: float) -> None:
        self.now += seconds
        self.joules += seconds * watts
        (self.zone / "energy_uj").write_text(f"{round(self.joules * 1e6) % WRAP}\n")

    def run(self) -> int:
        self.advance(self.seconds, self.busy * float(self.rng.normal(1, 0.05)))
        self.runs += 1
        return 1

    def sleep(self, seconds: float) -> None:
        self.advance(seconds, self.idle * float(self.rng.normal(1, 0.02)))

    def clock(self) -> float:
        return self.now


def measured(machine: Machine, found: tuple[Sensor, ...], **more: Any) -> dict[str, Any]:
    result = measure_energy(machine.run, found, clock=machine.clock, sleep=machine.sleep, **more)
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "nvml_gpus", lambda: ())
    monkeypatch.setattr("edgetl.device.power.nvml_gpus", lambda: ())


def test_a_counter_gives_watts_and_joules_with_intervals(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    result = measured(machine, sensors(tmp_path))
    (package,) = result["sensors"]
    assert package["name"] == "rapl package-0 (0)"
    assert "DRAM" in package["misses"] and package["notes"] == []
    assert package["idle_watts"]["value"] == pytest.approx(5.0, rel=0.05)
    assert package["watts"]["value"] == pytest.approx(25.0, rel=0.05)
    assert package["watts"]["n"] == package["idle_watts"]["n"] == STRETCHES == 8
    for key, truth in (("joules_per_inference", 0.25), ("joules_per_inference_above_idle", 0.2)):
        assert package[key]["low"] < truth < package[key]["high"]
        assert package[key]["high"] - package[key]["low"] < 0.1 * truth
        assert package[key]["n"] == result["inferences"]
        assert package[key]["kind"] == "measured"
    assert result["seconds"] == pytest.approx(5.0, abs=0.2)
    assert result["idle_seconds"] == pytest.approx(3.0)
    assert machine.runs > result["inferences"]  # those before the first stretch do not count


def test_the_interval_covers_the_truth(tmp_path: Path) -> None:
    hits = 0
    for seed in range(20):
        machine = Machine(tmp_path / str(seed), seconds=0.1)
        machine.rng = np.random.default_rng(seed)
        result = measured(machine, sensors(tmp_path / str(seed)))
        above = result["sensors"][0]["joules_per_inference_above_idle"]
        hits += above["low"] < 2.0 < above["high"]
    assert hits >= 17


def test_the_idle_levels_error_widens_what_is_above_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, seconds=0.1)
    calls = iter(range(100))
    steady = machine.sleep

    def restless(seconds: float) -> None:
        machine.idle = 4.0 if next(calls) % 2 else 6.0
        steady(seconds)

    machine.sleep = restless  # type: ignore[method-assign]
    package = measured(machine, sensors(tmp_path))["sensors"][0]
    total, above = package["joules_per_inference"], package["joules_per_inference_above_idle"]
    assert above["high"] - above["low"] > 1.5 * (total["high"] - total["low"])


def test_without_a_sensor_it_says_so_and_runs_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    empty = tmp_path / "empty"
    assert measured(machine, sensors(empty), absent=absent(empty)) == {"sensors": [], "absent": absent(empty)}
    assert machine.runs == 0


def counter(name: str, machine: Machine, period: float) -> Sensor:
    return Sensor(name, "a", "b", period, read_joules=lambda: machine.joules)


def test_a_slow_counter_makes_stretches_longer_or_is_left_out(tmp_path: Path) -> None:
    machine = Machine(tmp_path, seconds=0.1)
    slow, slower = counter("slow", machine, 0.5), counter("slower", machine, 2.0)
    result = measured(machine, (slow, slower))
    assert [s["name"] for s in result["sensors"]] == ["slow"]
    assert result["absent"] == ["slower: absent: a new value only every 2 s"]
    assert result["seconds"] == pytest.approx(8 * 5 * 0.5, rel=0.02)
    assert measured(machine, (slower,), max_seconds=90.0)["seconds"] == pytest.approx(80.0, rel=0.02)


def test_counters_that_stand_still_stop_or_are_set_back_are_absent(tmp_path: Path) -> None:
    machine = Machine(tmp_path, seconds=0.1)
    stopping = Sensor(
        "stopping", "a", "b", 0.001, read_joules=lambda: machine.now if machine.now < 4 else None
    )
    reset = Sensor("reset", "a", "b", 0.001, read_joules=lambda: abs(machine.now - 4))
    still = Sensor("still", "a", "b", 0.001, read_joules=lambda: 7.0)
    result = measured(machine, (stopping, reset, still, counter("good", machine, 0.001)))
    assert [s["name"] for s in result["sensors"]] == ["good"]
    assert [line.split(":")[0] for line in result["absent"]] == ["stopping", "reset", "still"]


def test_an_engine_that_fails_or_does_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    good = counter("good", machine, 0.001)

    def broken() -> int:
        raise ValueError("no\nmore")

    def idle() -> int:
        machine.advance(0.1, 1.0)
        return 0

    for run, message in ((broken, "energy: .*no more"), (idle, "did no inference")):
        with pytest.raises(BackendError, match=message):
            measure_energy(run, (good,), clock=machine.clock, sleep=machine.sleep)
    with pytest.raises(InputError, match="durations"):
        measure_energy(machine.run, (good,), seconds=0)


def test_integrate_is_exact_for_straight_lines() -> None:
    times = np.array([0.0, 1.0, 2.0, 4.0])
    assert integrate(times, np.full(4, 3.0), 0.5, 3.5) == pytest.approx(9.0)
    assert integrate(times, 2 * times, 0.5, 3.5) == pytest.approx(3.5**2 - 0.5**2)
    assert integrate(times, 2 * times, 0.2, 0.4) == pytest.approx(0.4**2 - 0.2**2)  # between two samples
    assert integrate(times, 2 * times, 3.0, 6.0) == pytest.approx(7.0 + 2 * 8.0)  # flat beyond the last


def test_a_rail_is_sampled_by_a_thread(tmp_path: Path) -> None:
    chip = tmp_path / "sys/class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    facts = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "update_interval": "2"}
    for name, text in facts.items():
        (chip / name).write_text(text)

    def draw(milliamperes: int) -> None:
        # One write of four digits, so that the thread never sees half of it.
        with (chip / "curr1_input").open("r+" if (chip / "curr1_input").exists() else "w") as file:
            file.write(str(milliamperes))

    draw(1000)

    def run() -> int:
        draw(3000)
        time.sleep(0.005)
        return 2

    def sleep(seconds: float) -> None:
        draw(1000)
        time.sleep(seconds)

    before = threading.active_count()
    result = measure_energy(
        run, sensors(tmp_path), seconds=0.8, idle_seconds=0.4, settle_seconds=0.3, sleep=sleep
    )
    assert threading.active_count() == before
    (rail,) = result["sensors"]
    assert rail["method"] == "sampled every 20 ms, integrated by the trapezoid rule"
    assert rail["idle_watts"]["value"] == pytest.approx(5.0, rel=0.05)
    assert rail["watts"]["value"] == pytest.approx(15.0, rel=0.05)
    expected = rail["watts"]["value"] * result["seconds"] / result["inferences"]
    assert rail["joules_per_inference"]["value"] == pytest.approx(expected)


def test_a_rail_that_stops_answering_is_absent() -> None:
    answers = iter([5.0] * 3)
    dying = Sensor("dying", "a", "b", 0.002, read_watts=lambda: next(answers, None))

    def run() -> int:
        time.sleep(0.001)
        return 1

    result = measure_energy(run, (dying,), seconds=0.1, idle_seconds=0.1, settle_seconds=0.0)
    assert result["sensors"] == []
    assert result["absent"] == ["dying: absent: it stopped answering, or was set back, while it was measured"]
