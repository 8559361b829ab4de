"""What a comparison lets pass."""

from __future__ import annotations

from dataclasses import dataclass

from edgetl.errors import InputError

RESOLUTION = 0.05
"""A change of speed or time is called none if one of this size is ruled out."""

POINTS_RESOLUTION = 1.0
"""As ``RESOLUTION``, percentage points of accuracy."""

SIZE_ACCEPTED = 0.01
"""Growth of an engine's file that is put down to what compilers write into it besides the model."""

TIME_SHARE_ACCEPTED = 0.02
"""Change of the share of time on a device that is put down to the profiler."""

NOISE = 0.10
"""Standard deviation of p50 between runs of an unchanged engine, relative.

Measured on a shared virtual machine of two cores: 8 % over eleven runs that called themselves steady, though
the interval of each reached only 2 % to either side; 21 % over all nineteen. Of a quieter machine, say so.
"""

NOISE_OF = {"p50 latency": 1.0, "p90 latency": 2.0, "p99 latency": 4.0, "throughput": 1.0}
"""The noise of each figure over that of p50; 18 % and 39 % for the tails in those eleven runs."""

LEFT_BY_REFERENCE = 0.4
"""The part of the noise that a float engine timed in turns does not cancel: 4 % over five runs there."""

LEFT_IN_TURNS = 0.05
"""The part that is left where two engines take turns of a few runs each.

0.2 to 0.4 % where the steady runs' own traces were cut into turns of up to eight. What loading an engine
afresh changes is not in it: that belongs in the interval of ``against``, taken over several loads.
"""


@dataclass(frozen=True)
class Settings:
    """Limits of a comparison; relative, so that 0.05 is 5 %.

    Attributes:
        tolerance: how much slower may be.
        noise: standard deviation of p50 between runs of an unchanged engine.
        across_machines: compare times even if the machines differ.
        strict: what is undecided or not comparable is a failure.
    """

    tolerance: float = 0.0
    noise: float = NOISE
    across_machines: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.tolerance < 1 and 0 <= self.noise < 1):
            raise InputError("compare: tolerance and noise must be at least 0 and below 100 %")
