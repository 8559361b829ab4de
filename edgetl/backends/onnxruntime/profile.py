"""What onnxruntime's profile says of one inference: its nodes, where each ran, and how long."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from statistics import median
from typing import Any

from edgetl.backends.base import LayerTime
from edgetl.backends.onnxruntime.node_names import NodeNames

Event = Mapping[str, Any]
_ONE_INFERENCE = "model_run"
_AROUND_OTHERS = ("If", "Loop", "Scan")
"""Their time is that of the nodes inside them, which are listed too."""
_WAIT = tuple(f"{name}ExecutionProvider" for name in ("CPU", "CoreML", "Dnnl", "OpenVINO", "QNN", "Xnnpack"))
"""Providers whose nodes end with their work done. GPUs' are only started by the host, whose time is told."""
_PRECISIONS = {"uint8": "int8", "int8": "int8", "float": "f32", "float16": "f16", "bfloat16": "bf16"}


def one_inference(events: Sequence[Event], runs: int) -> list[dict[str, Any]]:
    """The nodes of one inference in the order they ran; ``dur``, in µs, is the median.

    Args:
        events: of a whole profile.
        runs: how many inferences count, the last ones.
    """
    starts = sorted(event["ts"] for event in events if event["name"] == _ONE_INFERENCE)[-runs:] or [inf]
    nodes = [
        event
        for event in events
        if event.get("cat") == "Node"
        and "provider" in event.get("args", {})
        and event["args"]["op_name"] not in _AROUND_OTHERS
        and event["ts"] >= starts[0]
    ]
    first: dict[tuple[str, str], Event] = {}
    spent: Counter[tuple[tuple[str, str], int]] = Counter()
    for event in sorted(nodes, key=lambda event: event["ts"]):
        node = (event["name"], event["args"].get("node_index", ""))
        first.setdefault(node, event)
        spent[node, bisect(starts, event["ts"])] += event["dur"]
    inferences = range(1, len(starts) + 1)
    return [
        {**event, "dur": median(spent[node, number] for number in inferences)}
        for node, event in first.items()
    ]


def layer_times(events: Sequence[Event], names: NodeNames) -> tuple[LayerTime, ...]:
    """The nodes of :func:`one_inference` with their times; none where one of them is the host's only."""
    if not _told(events):
        return ()
    return tuple(_layer(event, names) for event in events)


def _layer(event: Event, names: NodeNames) -> LayerTime:
    operator, name = event["args"]["op_name"], event["name"].removesuffix("_kernel_time")
    nodes = names.computed_by(name, operator)
    return LayerTime(
        name, nodes, operator, event["args"]["provider"], operand_precision(event), event["dur"] / 1e3
    )


def share_of_time(device: str, events: Sequence[Event]) -> float | None:
    """Of the nodes on a device; None where others ran beside them and the times are the host's only."""
    here = [event["dur"] for event in events if event["args"]["provider"] == device]
    if len(here) == len(events):
        return 1.0
    total = sum(event["dur"] for event in events)
    return sum(here) / total if total and _told(events) else None


def _told(events: Sequence[Event]) -> bool:
    return all(event["args"]["provider"] in _WAIT for event in events)


def operand_precision(event: Event) -> str:
    """Precision of an operator's first operand."""
    types = event["args"].get("input_type_shape") or [{}]
    first = next(iter(types[0]), "unknown")
    return _PRECISIONS.get(first, first)
