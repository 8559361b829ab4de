"""Numbers as text: units, intervals, sample sizes. Non-breaking where a line must not break."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgetl.quantity import Quantity

NOT_MEASURED = "not measured"
N_TOO_SMALL = "n too small"
MINUS = "\u2212"
NBSP = "\u00a0"


def fixed(value: float, decimals: int) -> str:
    """A number with ``decimals`` places, grouped thousands, a true minus and no negative zero."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:,.{decimals}f}".replace("-", MINUS)


def significant(value: float, digits: int = 3) -> str:
    """A number with at least ``digits`` significant digits; whole ones are never rounded away."""
    if value == 0:
        return "0"
    return fixed(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


@dataclass(frozen=True)
class Unit:
    """How a quantity is written: factor from the stored unit, digits, suffix."""

    factor: float
    digits: Callable[[float], str]
    suffix: str = ""

    def bare(self, value: float) -> str:
        return self.digits(value * self.factor)

    def full(self, value: float) -> str:
        return self.bare(value) + self.suffix


PERCENT = Unit(100, lambda x: fixed(x, 1), f"{NBSP}%")
POINTS = Unit(1, lambda x: fixed(x, 2), f"{NBSP}points")
MILLISECONDS = Unit(1, significant, f"{NBSP}ms")
RATE = Unit(1, significant, "/s")
TIMES = Unit(1, lambda x: fixed(x, 2), "×")
MEGABYTES = Unit(1e-6, lambda x: fixed(x, 1), f"{NBSP}MB")
SECONDS = Unit(1, significant, f"{NBSP}s")
WATTS = Unit(1, significant, f"{NBSP}W")
JOULES = Unit(1, significant, f"{NBSP}J")
TERA_OPS = Unit(1, significant, f"{NBSP}TOPS")
GIGABYTES_PER_S = Unit(1, significant, f"{NBSP}GB/s")


def signed(value: float, unit: Unit) -> str:
    """A change, with its sign."""
    written = unit.bare(value)
    return f"+{written}" if value > 0 else written


def interval(quantity: Quantity, unit: Unit) -> str:
    """``"94.7–98.2"``; one-sided where ``n`` supports one end only; empty without an interval."""
    low, high = quantity.low, quantity.high
    if low is not None and high is not None:
        between = f"{NBSP}to{NBSP}" if min(low, high) < 0 else "–"
        return f"{unit.bare(low)}{between}{unit.bare(high)}"
    if low is not None:
        return f"≥{NBSP}{unit.bare(low)}"
    return "" if high is None else f"≤{NBSP}{unit.bare(high)}"


def note(quantity: Quantity, unit: Unit) -> str:
    """What stands behind a number, in one phrase: interval, sample size, kind."""
    between = interval(quantity, unit)
    parts = [f"95{NBSP}% interval {between}{unit.suffix}" if between else "no interval"]
    parts += [f"n = {quantity.n:,}"] if quantity.n else []
    return ", ".join([*parts, quantity.kind])


def in_prose(quantity: Quantity, unit: Unit) -> str:
    """A number inside a sentence: ``"96.9 % (94.7–98.2)"``, with its kind unless it was measured."""
    inside = [part for part in (interval(quantity, unit), _unless_measured(quantity)) if part]
    return unit.full(quantity.value) + (f" ({', '.join(inside)})" if inside else "")


def _unless_measured(quantity: Quantity) -> str:
    return "" if quantity.kind == "measured" else quantity.kind


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``"1 image"``, ``"413 images"``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(parts: list[str]) -> str:
    """``"a"``, ``"a and b"``, ``"a, b and c"``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
