"""Tolerant reading of a results document: what is absent, null or not a number becomes None."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from edgetl.quantity import Kind, Quantity
from edgetl.reporting.markup import clean

SCHEMA = "edgetl.results/1"
_STATES = {"plan": "(plan)", "uncompiled": "(not compiled)"}


@dataclass(frozen=True)
class Row:
    """One engine, or one FP32 reference, as the report shows it.

    ``samples`` are latencies in milliseconds, ``accuracy`` and ``agreement`` fractions, ``drop`` percentage
    points (positive is worse than FP32), ``throughput`` images a second, ``expected`` the compiler's estimate
    of the latency in milliseconds. ``source`` is the engine's part of the document, for what only one section
    shows. A ``plan`` is an engine still to be built on its device.
    """

    name: str
    reference: bool
    backend: str
    precision: str
    executed: str
    accuracy: Quantity | None
    drop: Quantity | None
    agreement: Quantity | None
    p50: Quantity | None
    p90: Quantity | None
    p99: Quantity | None
    samples: list[float]
    throughput: Quantity | None
    speedup: Quantity | None
    expected: Quantity | None
    size_bytes: float | None
    plan: bool
    gate: str
    error: str | None
    source: Mapping[str, Any]

    @property
    def undone(self) -> str:
        """What an ``error`` means: an engine that was sent to a device was made."""
        return "measured" if section(self.source, "device") else "made"

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """The numbers there are, with what they are called in a sentence."""
        named = (
            ("accuracy", self.accuracy),
            ("drop", self.drop),
            ("agreement", self.agreement),
            ("p50 latency", self.p50),
            ("p90 latency", self.p90),
            ("p99 latency", self.p99),
            ("throughput", self.throughput),
            ("speed-up", self.speedup),
            ("expected latency", self.expected),
        )
        return ((name, value) for name, value in named if value is not None)


def section(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """``data[key]`` if it is a mapping, else an empty one."""
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def items(data: Mapping[str, Any], key: str) -> list[Any]:
    """``data[key]`` if it is a list, without its nulls, else an empty list."""
    value = data.get(key)
    return [item for item in value if item is not None] if isinstance(value, (list, tuple)) else []


def mappings(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The mappings in the list ``data[key]``."""
    return [item for item in items(data, key) if isinstance(item, Mapping)]


def text(data: Mapping[str, Any], key: str) -> str:
    """``data[key]`` on one line, or an empty string."""
    value = data.get(key)
    return "" if value is None else clean(value)


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def quantity(value: object) -> Quantity | None:
    """A quantity from its document form; None without a value. An unknown kind counts as an estimate."""
    if not isinstance(value, Mapping):
        return None
    figure = number(value.get("value"))
    if figure is None:
        return None
    kind = value.get("kind", "measured")
    known: Kind = kind if kind in get_args(Kind) else "estimated"
    n = number(value.get("n"))
    return Quantity(figure, number(value.get("low")), number(value.get("high")), int(n or 0), known)


def class_names(results: Mapping[str, Any]) -> list[str]:
    """The dataset's classes in the order of the model's outputs."""
    return [clean(name) for name in items(section(results, "dataset"), "classes")]


def references(results: Mapping[str, Any]) -> list[Row]:
    """The FP32 references: one a backend, or one without latency if no backend ran it."""
    fp32 = section(results, "fp32")
    engines = mappings(fp32, "engines")
    if not engines and quantity(fp32.get("accuracy")):
        engines = [{"accuracy": fp32["accuracy"]}]
    elsewhere = any(section(engine, "device") for engine in mappings(results, "engines"))
    place = " on the host" if elsewhere else ""
    return [_row(engine, f"FP32 {text(engine, 'backend')}".strip() + place, True) for engine in engines]


def engines(results: Mapping[str, Any]) -> list[Row]:
    """The engines, with names that tell them apart."""
    rows = [_row(engine, _called(engine), False) for engine in mappings(results, "engines")]
    twice = {name for name, count in Counter(row.name for row in rows).items() if count > 1}
    rows = [replace(row, name=f"{row.name} {row.precision}") if row.name in twice else row for row in rows]
    seen: Counter[str] = Counter()
    unique = []
    for row in rows:
        seen[row.name] += 1
        count = seen[row.name]
        unique.append(row if count == 1 else replace(row, name=f"{row.name} #{count}"))
    return unique


def _called(engine: Mapping[str, Any]) -> str:
    device = text(section(engine, "device"), "name")
    return " on ".join(filter(None, (text(engine, "target") or "engine", device)))


def rows(results: Mapping[str, Any]) -> list[Row]:
    """FP32 references first, then the engines."""
    return references(results) + engines(results)


def _row(engine: Mapping[str, Any], name: str, reference: bool) -> Row:
    latency = section(engine, "latency_ms")
    error = text(engine, "error")
    state = text(engine, "state")
    plan = state == "plan"
    precision = text(engine, "precision")
    return Row(
        name=name,
        reference=reference,
        backend=text(engine, "backend"),
        precision=" ".join(filter(None, (precision, _STATES.get(state)))),
        executed="" if state in _STATES else _executed(section(engine, "precision_detail")),
        accuracy=quantity(engine.get("accuracy")),
        drop=quantity(engine.get("drop_points")),
        agreement=quantity(engine.get("agreement")),
        p50=quantity(latency.get("p50")),
        p90=quantity(latency.get("p90")),
        p99=quantity(latency.get("p99")),
        samples=[x for x in map(number, items(engine, "latency_samples_ms")) if x is not None and x > 0],
        throughput=quantity(engine.get("throughput_per_s")),
        speedup=quantity(engine.get("speedup")),
        expected=_estimate(section(engine, "estimate").get("latency_ms")),
        size_bytes=None if plan else number(engine.get("size_bytes")),
        plan=plan,
        gate=text(engine, "gate") or "none",
        error=error or None,
        source=engine,
    )


def _estimate(value: object) -> Quantity | None:
    """A compiler's figure, which is an estimate whatever the document calls it."""
    found = quantity(value)
    return replace(found, kind="estimated") if found else None


def _executed(detail: Mapping[str, Any]) -> str:
    """``"int8 50, f32 18"``: how many nodes ran in which precision, most first."""
    counts = {clean(name): number(count) or 0 for name, count in section(detail, "executed").items()}
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{name} {count:.0f}" for name, count in ordered if count > 0)
