"""This machine's peaks: the probe network is made here, and run here or on a device."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgetl.measurement.probe import Probed
from edgetl.measurement.probing import probe_with
from edgetl.quantity import Quantity
from edgetl.roofline.bound import Peak
from edgetl.roofline.probe_network import SIDE, write_probe


def probe(backend: str, device: str, float_precision: str = "f32", side: int = SIDE) -> Probed:
    """What a device of this machine reaches through a backend; see ``measurement.probing.probe_with``.

    Args:
        side: pixels of the probe network's image.

    Raises:
        MissingDependencyError: if onnx, or the engine, is not installed.
        BackendError: if the engine can't load an ONNX on that device, or fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgetl-probe-") as folder:
        return probe_with(write_probe(Path(folder), side), backend, device, float_precision)


def as_peak(probed: Probed, source: str) -> Peak:
    """What was probed, as the roofline takes it."""
    caches = tuple((size, speed.value) for size, speed in probed.caches)
    return Peak(
        _value(probed.tops), _value(probed.float_tops), _value(probed.bandwidth), source, "measured", caches
    )


def _value(quantity: Quantity | None) -> float | None:
    return quantity.value if quantity else None
