"""The interval of a change, from the intervals of the two figures that it is made of."""

from __future__ import annotations

import math

from edgetl.quantity import Z95, Quantity, normal_quantile, student_t


def difference(new: Quantity, base: Quantity, extra: float = 0.0) -> Quantity:
    """``new - base`` of independent figures, with a 95 % interval.

    The distances from value to limit add up in squares, each side by itself (MOVER: Zou & Donner, *Statistics
    in Medicine*, 2008), so that lopsided intervals stay lopsided. Of two proportions with Wilson's intervals
    it is Newcombe's interval (*Statistics in Medicine*, 1998, method 10).

    Args:
        extra: standard deviation, of each figure, that its own interval does not hold.

    Returns:
        ``n`` is that of the smaller sample; an end is None where an end that it needs is.
    """
    value, noise = new.value - base.value, math.sqrt(2) * Z95 * extra
    below, above = _distances(new)
    base_below, base_above = _distances(base)
    down, up = _root(below, base_above, noise), _root(above, base_below, noise)
    return Quantity(
        value,
        None if down is None else value - down,
        None if up is None else value + up,
        min(new.n, base.n),
        new.kind,
    )


def ratio(new: Quantity, base: Quantity, extra: float = 0.0) -> Quantity:
    """``new / base`` of positive figures, as :func:`difference` of their logarithms.

    Args:
        extra: as in :func:`difference`, relative.

    Returns:
        ``n`` as in :func:`difference`; a limit that is not positive is none.
    """
    return _exponential(difference(_logarithm(new), _logarithm(base), extra))


def widened(change: Quantity, deviation: float) -> Quantity:
    """A ratio with a relative standard deviation added that its interval does not hold."""
    return _exponential(
        difference(
            _logarithm(change), Quantity(0.0, 0.0, 0.0, change.n, change.kind), deviation / math.sqrt(2)
        )
    )


def joint(checks: int) -> float:
    """The confidence of each of ``checks`` intervals that hold together at 95 % (Bonferroni)."""
    return 1 - 0.05 / max(1, checks)


def at(confidence: float, change: Quantity, degrees: int | None = None, *, logarithmic: bool) -> Quantity:
    """A change whose 95 % interval is made as wide as another confidence takes.

    Args:
        degrees: of freedom, if the interval is Student's t; None if it is a normal distribution's.
    """
    if logarithmic:
        return _exponential(at(confidence, _logarithm(change), degrees, logarithmic=False))
    if degrees:
        factor = student_t(degrees, confidence) / student_t(degrees)
    else:
        factor = normal_quantile(confidence) / Z95
    down, up = (None if d is None else d * factor for d in _distances(change))
    return Quantity(
        change.value,
        None if down is None else change.value - down,
        None if up is None else change.value + up,
        change.n,
        change.kind,
    )


def _distances(figure: Quantity) -> tuple[float | None, float | None]:
    below = None if figure.low is None else figure.value - figure.low
    above = None if figure.high is None else figure.high - figure.value
    return below, above


def _root(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return math.hypot(*known) if len(known) == len(parts) else None


def _logarithm(figure: Quantity) -> Quantity:
    low, high = (math.log(end) if end and end > 0 else None for end in (figure.low, figure.high))
    return Quantity(math.log(figure.value), low, high, figure.n, figure.kind)


def _exponential(figure: Quantity) -> Quantity:
    low, high = (None if end is None else math.exp(end) for end in (figure.low, figure.high))
    return Quantity(math.exp(figure.value), low, high, figure.n, figure.kind)
