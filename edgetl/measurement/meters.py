"""Average power between two moments, from a counter or from samples of the power."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgetl.device.power import Sensor

Floats = npt.NDArray[np.float64]
Clock = Callable[[], float]
"""Seconds."""

FASTEST = 0.02
SLOWEST = 0.1
"""Seconds between two samples of a sensor, at least and at most."""


class Meter(Protocol):
    sensor: Sensor
    method: str

    def mark(self) -> None:
        """A moment between which and the next :meth:`watts` can be asked for."""

    def watts(self, first_mark: int) -> float | None:
        """Average power from that mark (from 0) to the next; None if the sensor did not answer."""

    def notes(self) -> list[str]:
        """What a reader must know before believing the figures."""

    def close(self) -> None:
        """No more is read."""


def meter_of(sensor: Sensor, clock: Clock) -> Meter:
    """A meter on that sensor; one that samples has begun to."""
    return _Counter(sensor, clock) if sensor.read_joules is not None else _Sampler(sensor, clock)


class _Counter:
    """A sensor that adds energy up by itself: read at the ends of stretches only."""

    method = "counter, read at the ends of each stretch"

    def __init__(self, sensor: Sensor, clock: Clock) -> None:
        self.sensor, self.clock = sensor, clock
        self.marks: list[tuple[float, float | None]] = []

    def mark(self) -> None:
        assert self.sensor.read_joules is not None
        before = self.clock()
        joules = self.sensor.read_joules()
        self.marks.append(((before + self.clock()) / 2, joules))  # reading over a bus takes a while

    def watts(self, first_mark: int) -> float | None:
        (start, before), (end, after) = self.marks[first_mark : first_mark + 2]
        if before is None or after is None:
            return None
        joules = self.sensor.joules_between(before, after)
        return None if joules is None else joules / (end - start)

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing is open."""


class _Sampler:
    """A sensor that tells the power of the moment: a thread reads it all the time."""

    def __init__(self, sensor: Sensor, clock: Clock) -> None:
        self.sensor, self.clock = sensor, clock
        self.interval = min(SLOWEST, max(FASTEST, sensor.period))
        self.method = f"sampled every {1e3 * self.interval:.0f} ms, integrated by the trapezoid rule"
        self.marks: list[float] = []
        self.samples: list[tuple[float, float]] = []
        self.failed = False
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._sample, name=sensor.name, daemon=True)
        self.thread.start()

    def _sample(self) -> None:
        while not self.failed:
            self._read()
            if self.over.wait(self.interval):
                return

    def _read(self) -> None:
        assert self.sensor.read_watts is not None
        before = self.clock()
        watts = self.sensor.read_watts()
        took = self.clock() - before
        if watts is None:
            self.failed = True
        elif took <= SLOWEST:  # of another one it is not known when it was taken
            self.samples.append((before + took / 2, watts))

    def mark(self) -> None:
        self._read()  # so that no sample of what comes next is mixed into what was
        self.marks.append(self.clock())

    def watts(self, first_mark: int) -> float | None:
        if self.failed or not self.samples:
            return None
        times, watts = np.array(sorted(self.samples)).T
        start, end = self.marks[first_mark : first_mark + 2]
        return integrate(times, watts, start, end) / (end - start)

    def notes(self) -> list[str]:
        gap = max(np.diff(sorted(time for time, _ in self.samples)), default=0.0)
        if gap <= 2 * SLOWEST:
            return []
        return [f"sampled too seldom: {gap:.2f} s passed without a sample"]

    def close(self) -> None:
        self.over.set()
        self.thread.join()


def integrate(times: Floats, watts: Floats, start: float, end: float) -> float:
    """Joules between two moments by the trapezoid rule, linear between the samples, flat beyond them.

    Args:
        times: seconds of the samples, rising.
        watts: one value for each.
    """
    inside = (times > start) & (times < end)
    knots = np.concatenate([[start], times[inside], [end]])
    values = np.interp(knots, times, watts)
    return float(np.sum(np.diff(knots) * (values[1:] + values[:-1])) / 2)
