"""What a bench tells besides accuracy and latency: layers, cold start, other scenarios, energy, endurance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.engines import Engine


@dataclass(frozen=True)
class Wanted:
    """What to measure.

    Attributes:
        again: take latencies anew even if the store has them.
        minutes: length of the sustained run; None for none.
        reconcile: run the vendor's own tool too.
        install: install on a device what its Python lacks, into an environment of edgetl's own.
    """

    again: bool = True
    minutes: float | None = None
    reconcile: bool = False
    install: bool = False


def measure_details(
    context: Context,
    engine: Engine,
    contract: Contract,
    image: np.ndarray,
    pictures: Sequence[Path],
    wanted: Wanted,
) -> Mapping[str, Any]:
    """JSON-ready facts of an engine, by name.

    Args:
        image: uint8 ``[H, W, 3]``.
        pictures: encoded images, for what is measured end to end.
    """
    return {}
