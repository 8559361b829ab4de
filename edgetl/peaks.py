"""What a machine can do at most, probed or by its vendor's word, and how much of it an engine uses."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import EngineSpec
from edgetl.context import Context
from edgetl.device.lock import measuring_alone
from edgetl.errors import EdgetlError
from edgetl.measurement.probe import Probed, probe_with
from edgetl.remote.bundles import probe_there
from edgetl.remote.devices import Device
from edgetl.roofline.bound import Peak, roofline
from edgetl.roofline.cost import layer_costs
from edgetl.roofline.probe_network import SIDE, write_probe

if TYPE_CHECKING:
    from edgetl.profiles import Target

_KIND = "peak"
_BUSY_SIDE = 224
"""Pixels: 355e9 operations a run, which keep an accelerator busy for longer than they take to start."""


def probe(context: Context, spec: EngineSpec, on: Device | None = None) -> tuple[Probed, str]:
    """Measure the peaks of this machine, or of a device, through an engine; kept for later rooflines.

    Returns:
        The peaks, and what they are the peaks of: see ``device.environment.pace``.

    Raises:
        MissingDependencyError: if onnx is not installed here, or the engine there.
        EdgetlError: if the engine can't run the probe network.
    """
    with tempfile.TemporaryDirectory(prefix="edgetl-probe-") as folder:
        network = write_probe(Path(folder), SIDE if spec.device.upper().startswith("CPU") else _BUSY_SIDE)
        if on is not None:
            machine, probed = probe_there(on, context.observer, network, spec)
        else:
            with measuring_alone(context.observer.note), context.observer.stage(f"probe {spec.backend}"):
                probed = probe_with(network, spec.backend, spec.device, _floats(spec))
            machine = context.pace
    facts = {**probed.to_dict(), "probed_at": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    context.store.put(_KIND, _parts(machine, spec), facts)
    return probed, machine


def peak_of(context: Context, machine: str, spec: EngineSpec, target: Target | None) -> Peak | None:
    """What is known of a machine's peaks: measured on it, or else its vendor's figures."""
    entry = context.store.find(_KIND, _parts(machine, spec))
    facts = target.facts if target else None
    if entry is not None:
        peak = as_peak(Probed.from_dict(dict(entry.facts)), f"probed on it {entry.facts['probed_at']}")
        if peak.bandwidth_gbps is None and facts and facts.memory_bandwidth_gbps:
            source = f"{peak.source}; memory: {facts.source}"
            return replace(peak, bandwidth_gbps=facts.memory_bandwidth_gbps, source=source)
        return peak
    if facts is None or facts.peak_int8_tops is None:
        return None
    return Peak(facts.peak_int8_tops, None, facts.memory_bandwidth_gbps, facts.source, "estimated")


def with_roofline(
    context: Context, section: Mapping[str, Any], spec: EngineSpec, target: Target | None, model: Path
) -> dict[str, Any]:
    """An engine's entry in the results, with how much of its machine it uses: ``roofline.bound.roofline``.

    It is None without a latency, and has a ``reason`` only where no peak is known.

    Args:
        model: the ONNX that the engine was built from.
    """
    machine = section.get("device", {}).get("machine", context.pace)
    return {**section, "roofline": _roofline(context, machine, section, spec, target, model)}


def _roofline(
    context: Context,
    machine: str,
    section: Mapping[str, Any],
    spec: EngineSpec,
    target: Target | None,
    model: Path,
) -> dict[str, Any] | None:
    latency = section.get("latency_ms")
    if not latency:
        return None
    peak = peak_of(context, machine, spec, target)
    if peak is None:
        return {"reason": "its machine's peak is not known: edgetl device probe [DEVICE] measures it"}
    try:
        costs = layer_costs(model)
    except EdgetlError as error:
        return {"reason": str(error)}
    return roofline(costs, peak, section.get("layer_times") or (), latency["p50"]["value"])


def as_peak(probed: Probed, source: str) -> Peak:
    """What was probed, as the roofline takes it."""
    caches = tuple((size, speed.value) for size, speed in probed.caches)
    tops, floats, memory = (
        q.value if q else None for q in (probed.tops, probed.float_tops, probed.bandwidth)
    )
    return Peak(tops, floats, memory, source, "measured", caches)


def _parts(machine: str, spec: EngineSpec) -> dict[str, Any]:
    return {"machine": machine, "backend": spec.backend, "device": spec.device, "floats": _floats(spec)}


def _floats(spec: EngineSpec) -> str:
    return spec.float_precision if spec.float_precision != "auto" else "f32"
