"""Measurement that repeats, on the device that counts: all goals of it, in the order of their trust."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import aarch64, cuts, device_overhead, latency, mutations, repeats, slowdown
from benchmarks.goal import Goal
from benchmarks.settings import Settings


def goals(settings: Settings) -> Iterator[Goal]:
    for area in (device_overhead, latency, repeats, slowdown, cuts, aarch64, mutations):
        yield from area.goals(settings)
