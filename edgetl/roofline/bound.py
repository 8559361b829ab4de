"""The least time a network can take on a device, and which layers are farthest from theirs.

A layer takes at least as long as its arithmetic at the device's peak, and at least as long as its bytes at
the bandwidth of the memory they lie in (Williams, Waterman & Patterson, *Roofline*, CACM, 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgetl.quantity import Quantity
from edgetl.roofline.cost import LayerCost

_WORST = 3


@dataclass(frozen=True)
class Peak:
    """What a device can do.

    Attributes:
        tops: INT8, dense, in 10^12 operations a second, two a multiply-accumulate; None if not known.
        float_tops: the same in the float precision that the engine's float layers have.
        bandwidth_gbps: of its memory, in 10^9 bytes a second, read and written together.
        source: where the figures are from.
        kind: "measured" by ``measurement.probe``, "estimated" from a data sheet.
        caches: ``(bytes, GB/s)``: the bandwidth of what fits into so many bytes. Empty where it is not known:
            all data is then taken to cross the memory bus.
    """

    tops: float | None
    float_tops: float | None
    bandwidth_gbps: float | None
    source: str
    kind: Literal["measured", "estimated"]
    caches: tuple[tuple[int, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        caches = [{"bytes": size, "bandwidth_gbps": bandwidth} for size, bandwidth in self.caches]
        return {**asdict(self), "caches": caches}

    def bandwidth(self, working_set: int) -> float | None:
        """GB/s of data that is read again after so many bytes of other data.

        What fits into a small cache is at least as fast as what fits into a larger one.
        """
        holding = [speed for size, speed in self.caches if working_set <= size]
        return max([*holding, *filter(None, [self.bandwidth_gbps])], default=None)

    def operations(self, bits: int) -> float | None:
        """TOPS of a layer's arithmetic; no device computes floats faster than 8-bit integers."""
        return self.tops if bits == 8 else self.float_tops or self.tops


@dataclass(frozen=True)
class _Floor:
    """The least milliseconds of one layer: its arithmetic (None where the peak is not known), its bytes."""

    compute: float | None
    memory: float

    @property
    def ms(self) -> float | None:
        return None if self.compute is None else max(self.compute, self.memory)


def roofline(
    costs: Sequence[LayerCost],
    peak: Peak,
    layer_times: Sequence[Mapping[str, Any]],
    p50_ms: float,
) -> dict[str, Any]:
    """What share of a device an engine uses, and where it loses most; JSON-ready.

    Args:
        costs: of the ONNX that the engine was built from.
        layer_times: the layers that the engine executes: ``name``, ``nodes`` (names of the ONNX nodes it
            computes) and ``ms``, as a profiler tells them; empty where it tells none.
        p50_ms: of the engine, measured without a profiler. Layers' times are scaled to add up to it.

    Returns:
        ``peak``, ``macs``, ``bytes``; ``bound_ms`` and ``share_of_device`` (quantities of the kind
        "estimated", None where the peak is not known); ``layers`` in the network's order: ``name``, ``op``,
        ``macs``, ``bytes``, ``bound`` ("compute" or "memory"), ``bound_ms``, ``ms`` and ``lost_ms`` (None
        where not known); ``worst``: names of the three that lose most; ``unmatched_ms`` of executed layers
        that match no node (None without ``layer_times``); ``notes``: what a reader must know before
        believing the figures.
    """
    floors = _floors(costs, peak)
    matched, unmatched = _matched(costs, layer_times)
    measured = sum(float(layer["ms"]) for layer in layer_times)
    scale = p50_ms / measured if measured else None
    layers = [
        _layer([costs[i] for i in group], [floors[i] for i in group], ms, scale) for group, ms in matched
    ]
    least = [floor.ms for floor in floors]
    bound = None if None in least else sum(ms for ms in least if ms is not None)
    share = bound / p50_ms if bound is not None else None
    losing = sorted((la for la in layers if (la["lost_ms"] or 0) > 0), key=lambda layer: -layer["lost_ms"])
    return {
        "peak": peak.to_dict(),
        "macs": sum(cost.macs for cost in costs),
        "bytes": sum(cost.bytes for cost in costs),
        "bound_ms": _estimated(bound),
        "share_of_device": _estimated(share),
        "layers": layers,
        "worst": [layer["name"] for layer in losing[:_WORST]],
        "unmatched_ms": unmatched * scale if scale is not None else None,
        "notes": _notes(costs, peak, share, layers if scale is not None else []),
    }


def _floors(costs: Sequence[LayerCost], peak: Peak) -> list[_Floor]:
    """Weights are read again after the whole network, activations right after they were written."""
    weights = sum(cost.weights for cost in costs)
    network = weights + max((cost.bytes - cost.weights for cost in costs), default=0)
    return [_floor(cost, peak, network) for cost in costs]


def _floor(cost: LayerCost, peak: Peak, network: int) -> _Floor:
    far, near = peak.bandwidth(network), peak.bandwidth(cost.bytes)
    memory = (cost.weights / far if far else 0.0) + ((cost.bytes - cost.weights) / near if near else 0.0)
    if not cost.macs:
        return _Floor(0.0, memory / 1e6)
    tops = peak.operations(cost.bits)
    return _Floor(2 * cost.macs / tops / 1e9 if tops else None, memory / 1e6)


def _matched(
    costs: Sequence[LayerCost], layer_times: Sequence[Mapping[str, Any]]
) -> tuple[list[tuple[list[int], float | None]], float]:
    """Costs that are executed together, with their milliseconds; and those of what matches none.

    An engine may run two layers as one kernel, or one as two: what shares a kernel or a node is one group.
    """
    of_node: dict[str, list[int]] = {}
    for index, cost in enumerate(costs):
        for node in cost.nodes:
            of_node.setdefault(node, []).append(index)
    group = {index: [index] for index in range(len(costs))}
    times: list[tuple[int, float]] = []
    unmatched = 0.0
    for layer in layer_times:
        hits = sorted({index for node in layer["nodes"] for index in of_node.get(node, [])})
        if not hits:
            unmatched += float(layer["ms"])
            continue
        merged = sorted({index for hit in hits for index in group[hit]})
        group.update(dict.fromkeys(merged, merged))
        times.append((hits[0], float(layer["ms"])))
    spent: dict[int, float] = {}
    for index, ms in times:
        first = group[index][0]
        spent[first] = spent.get(first, 0.0) + ms
    return [(members, spent.get(i)) for i, members in group.items() if i == members[0]], unmatched


def _layer(
    costs: Sequence[LayerCost], floors: Sequence[_Floor], ms: float | None, scale: float | None
) -> dict[str, Any]:
    """One entry of the result: costs that are executed together."""
    main = max(costs, key=lambda cost: cost.macs)
    least = [floor.ms for floor in floors]
    bound = None if None in least else sum(value for value in least if value is not None)
    computing = sum(floor.compute or 0.0 for floor in floors)
    spent = ms * scale if ms is not None and scale is not None else None
    return {
        "name": main.name,
        "op": main.op,
        "macs": sum(cost.macs for cost in costs),
        "bytes": sum(cost.bytes for cost in costs),
        "bound": "compute" if bound is None or computing > sum(f.memory for f in floors) else "memory",
        "bound_ms": bound,
        "ms": spent,
        "lost_ms": spent - bound if spent is not None and bound is not None else None,
    }


def _notes(
    costs: Sequence[LayerCost], peak: Peak, share: float | None, layers: Sequence[Mapping[str, Any]]
) -> list[str]:
    notes = []
    if share is None:
        notes.append("the device's peak is not known; edgetl device probe measures it")
    elif share > 1:
        notes.append(
            f"the bound is beaten ({share:.0%} of it): data stays in caches nearer than assumed, "
            "or the device can do more than the peak says"
        )
    if peak.bandwidth_gbps is None:
        notes.append("the bandwidth is not known: only the arithmetic counts, and the share is a lower limit")
    elif not peak.caches:
        notes.append("all weights and activations are taken to cross the memory bus, once a layer")
    if peak.float_tops is None and peak.tops is not None and any(c.macs and c.bits > 8 for c in costs):
        notes.append("the float peak is not known: float layers count at the INT8 peak, as a lower limit")
    lost = [layer["name"] for layer in layers if layer["macs"] and layer["ms"] is None]
    if lost:
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        notes.append(f"not among the layers that the engine reports: {lost[0]}{more}")
    return notes


def _estimated(value: float | None) -> dict[str, Any] | None:
    return None if value is None else Quantity(value, None, None, 1, "estimated").to_dict()
