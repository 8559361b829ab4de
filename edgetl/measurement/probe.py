"""What this device can do at most, by micro-benchmarks: operations a second, bytes a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.contract.stream import usable_cores
from edgetl.errors import EdgetlError, InputError
from edgetl.measurement.engine import Images, Runnable
from edgetl.measurement.latency import LatencyOptions, measure
from edgetl.quantity import Quantity, quantile

MIB = 1 << 20
_SETS = (MIB // 2, 2 * MIB, 8 * MIB, 32 * MIB)
"""Working sets, bytes: the activations of a layer, a network."""
_FAR = 256 * MIB
_TIMES_CACHE = 8
_SAMPLE_SECONDS = 0.005
_REPEATS = 21
_OPTIONS = LatencyOptions(min_samples=100, max_seconds=8.0)
_CPUS = "sys/devices/system/cpu"

Copy = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Probed:
    """Peaks of a device, measured; None where the engine does not compute in that precision there.

    Attributes:
        tops: INT8, in 10^12 operations a second, two a multiply-accumulate.
        float_tops: the same in the engine's float precision.
        bandwidth: of the memory, GB/s; None where it is not the memory of the device that computes.
        caches: ``(bytes, GB/s)`` of what fits into the caches, ascending.
    """

    tops: Quantity | None
    float_tops: Quantity | None
    bandwidth: Quantity | None
    caches: tuple[tuple[int, Quantity], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        single = {"tops": self.tops, "float_tops": self.float_tops, "bandwidth_gbps": self.bandwidth}
        caches = [{"bytes": size, "bandwidth_gbps": speed.to_dict()} for size, speed in self.caches]
        return {**{name: q.to_dict() if q else None for name, q in single.items()}, "caches": caches}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Probed:
        def quantity(name: str) -> Quantity | None:
            return Quantity.from_dict(data[name]) if data[name] else None

        caches = ((c["bytes"], Quantity.from_dict(c["bandwidth_gbps"])) for c in data["caches"])
        return cls(quantity("tops"), quantity("float_tops"), quantity("bandwidth_gbps"), tuple(caches))


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


def peak_ops(session: Runnable, macs: int, image: Images) -> Quantity:
    """TOPS that an engine reaches, two operations a multiply-accumulate, by its p50.

    Args:
        session: of a network that does little but compute.
        macs: of one run.
        image: ``uint8 [H, W, 3]`` of the engine's size.

    Raises:
        EdgetlError: if the engine fails.
    """
    result = measure({"probe": session}, image, _OPTIONS)["probe"]
    if isinstance(result, EdgetlError):
        raise result
    p50, tera = result.p50, 2 * macs / 1e9
    low = tera / p50.high if p50.high else None
    high = tera / p50.low if p50.low else None
    return Quantity(tera / p50.value, low, high, p50.n)


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


def memory_bandwidth(threads: int, working_set: int | None = None) -> Quantity:
    """GB/s of copying memory, what is read and what is written counted: the median of many copies.

    Args:
        threads: that copy at the same time, each arrays of its own.
        working_set: bytes of all arrays together; None for far more than the caches hold.

    Raises:
        InputError: if there is no thread, or not a byte for each.
    """
    size = (working_set or max(_FAR, _TIMES_CACHE * (cache_size() or 0))) // max(2 * threads, 1)
    if threads < 1 or size < 1:
        raise InputError(f"bandwidth: {threads} threads for {working_set} bytes")
    # written once: fresh pages are all the same page of zeros
    pairs = [(np.full(size, 1, np.uint8), np.full(size, 2, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def seconds(rounds: int) -> float:
            start = time.perf_counter()
            for _ in pool.map(lambda pair: _copy(pair, rounds), pairs):
                pass
            return time.perf_counter() - start

        rounds = _enough(seconds)
        samples = [2 * size * threads * rounds / seconds(rounds) / 1e9 for _ in range(_REPEATS)]
    return quantile(sorted(samples), 0.5)


def cache_bandwidths(threads: int) -> Iterator[tuple[int, Quantity]]:
    """``(bytes, GB/s)`` for working sets that the caches hold; none where their size is not told."""
    for size in _SETS:
        if size < (cache_size() or 0):
            yield size, memory_bandwidth(threads, size)


def cache_size(root: Path = Path("/")) -> int | None:
    """Bytes of the last-level cache that a core has; None if the system does not tell."""
    sizes = [path.read_text().strip() for path in (root / _CPUS / "cpu0/cache").glob("index*/size")]
    units = {"K": 1 << 10, "M": 1 << 20}
    known = [int(text[:-1]) * units[text[-1]] for text in sizes if text[-1:] in units]
    return max(known, default=None)


def _copy(pair: Copy, rounds: int) -> None:
    source, target = pair
    for _ in range(rounds):
        np.copyto(target, source)


def _enough(seconds: Callable[[int], float]) -> int:
    """How many rounds make a sample that starting the threads does not matter in."""
    rounds = 1
    while (elapsed := seconds(rounds)) < _SAMPLE_SECONDS:
        rounds = max(rounds + 1, min(10 * rounds, int(1.2 * rounds * _SAMPLE_SECONDS / max(elapsed, 1e-9))))
    return rounds
