"""One figure of a few repeats, each of which is a measurement of its own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from edgetl.quantity import Quantity, student_t


def over_repeats(figures: Sequence[float]) -> Quantity:
    """Geometric mean of positive ``figures``, with Student's t interval of their logarithms.

    So the mean of paired ratios is the ratio of the means. Below three figures there is no interval: two
    say next to nothing of their spread.
    """
    logarithms = [math.log(figure) for figure in figures]
    n, mean = len(logarithms), statistics.fmean(logarithms)
    if n < 3:
        return Quantity(math.exp(mean), None, None, n)
    half = student_t(n - 1) * statistics.stdev(logarithms) / math.sqrt(n)
    return Quantity(math.exp(mean), math.exp(mean - half), math.exp(mean + half), n)
