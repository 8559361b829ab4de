"""Watts and joules per inference, by every power sensor that a machine has."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from edgetl.device.power import Sensor
from edgetl.errors import BackendError, InputError
from edgetl.measurement.engine import as_error
from edgetl.measurement.meters import Clock, Meter, meter_of
from edgetl.quantity import Quantity, student_t

Sleep = Callable[[float], None]

STRETCHES = 8
"""Load, and idle half before and half after it, are cut into so many stretches each."""

# A stretch's ends are each uncertain by one period of the sensor, so it must span several.
_PERIODS = 5
_IDLE = "this process asleep with the engine loaded, half of the time before the load and half after it"


def measure_energy(
    run: Callable[[], int],
    sensors: Sequence[Sensor],
    absent: Sequence[str] = (),
    *,
    seconds: float = 5.0,
    idle_seconds: float = 3.0,
    settle_seconds: float = 0.5,
    max_seconds: float = 60.0,
    clock: Clock = time.perf_counter,
    sleep: Sleep = time.sleep,
) -> dict[str, Any]:
    """Power while ``run`` is called again and again, and while nothing is, in eight stretches each.

    A stretch is made longer than ``seconds / 8`` where a sensor's period asks for it. A sensor for which the
    load would have to last longer than ``max_seconds`` is left out and named in ``absent``, as is one that
    stops answering, or whose counter does not move.

    Args:
        run: does some inferences and returns how many; short against a stretch.
        sensors: of this machine (``device.power.sensors``).
        absent: why others are not there (``device.power.absent``); handed on.
        settle_seconds: what is waited, idle or under load, before its stretches begin.

    Returns:
        JSON-ready: ``sensors``, ``absent`` and, where there is a sensor, ``inferences``, ``seconds``,
        ``idle_seconds`` and ``idle`` (what was done meanwhile). Each sensor has ``name``, ``covers``,
        ``misses``, ``method``, ``idle_watts`` and ``watts`` (quantities with n = stretches),
        ``joules_per_inference`` and ``joules_per_inference_above_idle`` (n = inferences), intervals by
        Student's t over the stretches, and ``notes``.

    Raises:
        InputError: if a duration is not positive.
        BackendError: if ``run`` fails or does no inference.
    """
    if min(seconds, idle_seconds, max_seconds) <= 0 or settle_seconds < 0:
        raise InputError(
            f"energy: durations must be positive, got {seconds}, {idle_seconds}, {max_seconds} s"
        )
    slow = [s for s in sensors if STRETCHES * _PERIODS * s.period > max(max_seconds, seconds)]
    missing = [*absent, *(f"{s.name}: absent: a new value only every {s.period:g} s" for s in slow)]
    fit = [sensor for sensor in sensors if sensor not in slow]
    if not fit:
        return {"sensors": [], "absent": missing}
    shortest = _PERIODS * max(sensor.period for sensor in fit)
    settle = max(settle_seconds, 2 * max(sensor.period for sensor in fit))
    trial = _Trial(run, clock, sleep, [meter_of(sensor, clock) for sensor in fit])
    with ExitStack() as stack:
        for meter in trial.meters:
            stack.callback(meter.close)
        idle_length = max(idle_seconds / STRETCHES, shortest)
        idle = trial.stretches(trial.rest, settle, idle_length, STRETCHES // 2)
        load = trial.stretches(trial.work, settle, max(seconds / STRETCHES, shortest), STRETCHES)
        idle += trial.stretches(trial.rest, settle, idle_length, STRETCHES // 2)
    results = [_result(meter, idle, load) for meter in trial.meters]
    return {
        "sensors": [result for result in results if isinstance(result, dict)],
        "absent": missing + [result for result in results if isinstance(result, str)],
        "inferences": sum(stretch.inferences for stretch in load),
        "seconds": math.fsum(stretch.seconds for stretch in load),
        "idle_seconds": math.fsum(stretch.seconds for stretch in idle),
        "idle": _IDLE,
    }


@dataclass(frozen=True)
class _Stretch:
    """Some time between two marks of the meters."""

    first_mark: int
    seconds: float
    inferences: int


class _Trial:
    """What is run, and the meters that watch it."""

    def __init__(self, run: Callable[[], int], clock: Clock, sleep: Sleep, meters: Sequence[Meter]) -> None:
        self.run, self.clock, self.sleep, self.meters = run, clock, sleep, meters
        self.marks: list[float] = []

    def stretches(
        self, step: Callable[[float], int], settle: float, seconds: float, count: int
    ) -> list[_Stretch]:
        """``count`` stretches of ``step`` without a gap, after it was done for ``settle`` seconds."""
        step(settle)
        self._mark()
        found = []
        for _ in range(count):
            inferences = step(seconds)
            self._mark()
            found.append(_Stretch(len(self.marks) - 2, self.marks[-1] - self.marks[-2], inferences))
        return found

    def _mark(self) -> None:
        for meter in self.meters:
            meter.mark()
        self.marks.append(self.clock())

    def rest(self, seconds: float) -> int:
        self.sleep(seconds)
        return 0

    def work(self, seconds: float) -> int:
        end = self.clock() + seconds
        inferences = 0
        while True:
            try:
                inferences += self.run()
            except Exception as error:
                raise as_error("energy", error)  # noqa: B904 - it keeps its own cause
            if self.clock() >= end:
                break
        if inferences <= 0:
            raise BackendError("energy: the engine did no inference in a whole stretch")
        return inferences


def _result(meter: Meter, idle: Sequence[_Stretch], load: Sequence[_Stretch]) -> dict[str, Any] | str:
    """One sensor's figures, or why there are none."""
    resting, working = ([meter.watts(s.first_mark) for s in stretches] for stretches in (idle, load))
    idle_watts = [w for w in resting if w is not None]
    watts = [w for w in working if w is not None]
    if len(idle_watts) < len(idle) or len(watts) < len(load):
        return f"{meter.sensor.name}: absent: it stopped answering, or was set back, while it was measured"
    if meter.sensor.read_joules is not None and not any(watts):
        return f"{meter.sensor.name}: absent: its counter does not move"
    inferences = [stretch.inferences for stretch in load]
    n, seconds = sum(inferences), [stretch.seconds for stretch in load]
    idle_level = _ratio(idle_watts, [1.0] * len(idle))
    joules = [w * s for w, s in zip(watts, seconds, strict=True)]
    above = [j - idle_level.value * s for j, s in zip(joules, seconds, strict=True)]
    # The idle level is the same figure in all stretches, so its error does not average out over them.
    shared = idle_level.error * math.fsum(seconds) / n
    return {
        "name": meter.sensor.name,
        "covers": meter.sensor.covers,
        "misses": meter.sensor.misses,
        "method": meter.method,
        "idle_watts": idle_level.quantity(len(idle)),
        "watts": _ratio(joules, seconds).quantity(len(load)),
        "joules_per_inference": _ratio(joules, inferences).quantity(n),
        "joules_per_inference_above_idle": _ratio(above, inferences).quantity(n, shared),
        "notes": meter.notes(),
    }


@dataclass(frozen=True)
class _Ratio:
    """A total over a total, its standard error, and of how many stretches."""

    value: float
    error: float
    stretches: int

    def quantity(self, n: int, shared_error: float = 0.0) -> dict[str, Any]:
        """With Student's t interval; ``shared_error`` is one that all stretches have in common."""
        half = student_t(self.stretches - 1) * math.hypot(self.error, shared_error)
        return Quantity(self.value, self.value - half, self.value + half, n).to_dict()


def _ratio(above: Sequence[float], below: Sequence[float]) -> _Ratio:
    """The sums' ratio and its error from the residuals (Cochran, *Sampling Techniques*, 1977, 6.3)."""
    k, value = len(above), math.fsum(above) / math.fsum(below)
    residuals = math.fsum((a - value * b) ** 2 for a, b in zip(above, below, strict=True))
    return _Ratio(value, math.sqrt(residuals * k / (k - 1)) / math.fsum(below), k)
