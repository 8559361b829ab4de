"""A device's peaks through one engine: the probe network, and copies of memory. Runs on the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.contract.stream import usable_cores
from edgetl.measurement.probe import Probed, cache_bandwidths, memory_bandwidth, peak_ops
from edgetl.quantity import Quantity


@dataclass(frozen=True)
class ProbeNetwork:
    """One network in two precisions: ``uint8 [1, side, side, 3]`` to ``float32 [1, 256]``.

    Attributes:
        int8: QDQ, unsigned activations and signed weights.
        floating: its float twin.
        macs: multiply-accumulates of one run.
    """

    int8: Path
    floating: Path
    macs: int
    side: int


def probe_with(network: ProbeNetwork, backend: str, device: str, float_precision: str = "f32") -> Probed:
    """What a device of this machine reaches through a backend; takes about half a minute.

    Args:
        device: the runtime's name of it. The bandwidth is measured where that is the CPU, since copies
            made by the CPU tell nothing of another device's memory.
        float_precision: of the engine's float layers: ``f32``, ``f16`` or ``bf16``.

    Raises:
        InputError: if there is no such backend.
        MissingDependencyError: if its engine is not installed.
        BackendError: if it can't load an ONNX on that device, or fails.
    """
    int8 = _peak(backend, device, network, network.int8, "int8", float_precision)
    floating = _peak(backend, device, network, network.floating, float_precision, float_precision)
    if not device.upper().startswith("CPU"):
        return Probed(int8, floating, None)
    threads = usable_cores()
    return Probed(int8, floating, memory_bandwidth(threads), tuple(cache_bandwidths(threads)))


def _peak(
    backend: str, device: str, network: ProbeNetwork, model: Path, precision: str, float_precision: str
) -> Quantity | None:
    """TOPS in a precision; None where the engine does not compute in it."""
    spec = EngineSpec(backend, model.name, precision, float_precision, device)
    session = get_backend(backend).load(model, spec)
    if session.precision().used != precision:
        return None
    image = np.random.default_rng(0).integers(0, 256, (network.side, network.side, 3), np.uint8)
    return peak_ops(session, network.macs, image)
