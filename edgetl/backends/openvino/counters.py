"""OpenVINO's performance counters as layer times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from edgetl.backends.base import LayerTime
from edgetl.backends.openvino.devices import CPU, family
from edgetl.backends.profiling import profiled_runs, warm_up

Reading = Mapping[str, Any]
"""A request's ``profiling_info`` after an inference, by the layer's name."""
Facts = Mapping[str, str]
"""What a compiled model tells of a layer."""

_SUBGRAPH = re.compile(r"^(subgraph\d+): ")
"""How HETERO begins the names of its parts' layers."""
_MADE_OF = re.compile(r"(/WithoutBiases|/DequantizationMultiply|_original)+$")
"""What OpenVINO appends to a node's name when it makes something else of it."""
_OWN = re.compile(r"(Convert|Divide|FakeQuantize|MVN|Multiply|Subtract)_\d+")
"""Names of what it adds itself, by operators that ONNX calls otherwise."""
_PRECISIONS = {
    **dict.fromkeys(("i8", "u8"), "int8"),
    **dict.fromkeys(("", "undefined", "dynamic"), "unknown"),
    **{"fp32": "f32", "fp16": "f16"},
}


def read_counters(request: Any, image: Any) -> tuple[list[Reading], int]:
    """A reading after each of some inferences, and how many of the first ones were to warm up."""
    readings: list[Reading] = []

    def infer() -> None:
        request.infer({0: image})
        readings.append({info.node_name: info for info in request.profiling_info})

    warm = warm_up(infer)
    profiled_runs(infer)
    return readings, warm


def layer_times(
    readings: Sequence[Reading],
    warm: int,
    facts: Mapping[str, Facts],
    planned: Mapping[str, str],
    device: str,
) -> tuple[LayerTime, ...]:
    """The layers that were executed, in the order they ran.

    Args:
        readings: the first ``warm`` are not counted.
        facts: by the layer's name.
        planned: the device of each of the network's nodes, where there are several.
        device: the one of all layers where nothing is planned.
    """
    ran = [info for info in readings[-1].values() if info.status == type(info).Status.EXECUTED]
    told = {info.node_name: facts.get(_SUBGRAPH.sub("", info.node_name), {}) for info in ran}
    computed = {name: _nodes(name, told[name]) for name in told}
    places = devices(computed, planned, device)
    return tuple(
        LayerTime(
            info.node_name,
            original(computed[info.node_name]),
            info.node_type,
            places[info.node_name],
            _precision(told[info.node_name], info.exec_type),
            _milliseconds([reading[info.node_name] for reading in readings], warm, places[info.node_name]),
        )
        for info in ran
    )


def devices(
    layers: Mapping[str, Sequence[str]], planned: Mapping[str, str], device: str
) -> Mapping[str, str]:
    """The device of each layer: that of a node it computes, else of its subgraph, else ``device``.

    Args:
        layers: OpenVINO's names of the nodes that each layer computes.
    """
    found = {
        name: next((planned[node] for node in nodes if node in planned), "") for name, nodes in layers.items()
    }
    parts: dict[str, str] = {}
    for name, place in found.items():
        if place:
            parts.setdefault(_part(name), place)
    return {name: place or parts.get(_part(name), device) for name, place in found.items()}


def original(names: Sequence[str]) -> tuple[str, ...]:
    """Names of ONNX nodes among OpenVINO's; a node that makes the network's output has its output's name."""
    stripped = (_MADE_OF.sub("", name) for name in names)
    return tuple(dict.fromkeys(name for name in stripped if name and not _OWN.fullmatch(name)))


def _nodes(layer: str, facts: Facts) -> Sequence[str]:
    """As the compiled model tells; one that does not know the layer leaves its name only."""
    return facts["originalLayersNames"].split(",") if facts else (_SUBGRAPH.sub("", layer),)


def _part(layer: str) -> str:
    found = _SUBGRAPH.match(layer)
    return found[1] if found else ""


def _precision(facts: Facts, kernel: str) -> str:
    """As the compiled model tells, else as the kernel's name ends: ``brgconv_avx512_I8``."""
    word = (facts.get("runtimePrecision") or kernel.rpartition("_")[2]).lower()
    return _PRECISIONS.get(word, word)


def _milliseconds(infos: Sequence[Any], warm: int, device: str) -> float:
    """Of one inference: the median; on a CPU the mean, for a reading there is the mean of all until then."""
    us: list[float] = [info.real_time.total_seconds() * 1e6 for info in infos]
    if family(device) != CPU:
        return median(us[warm:]) / 1e3
    total = us[-1] * len(us) - us[warm - 1] * warm
    return max(total, 0.0) / (len(us) - warm) / 1e3
