"""What the numbers say and what they do not: the report's first paragraph and its last section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetl.quantity import Quantity
from edgetl.reporting.read import Row, engines, number, quantity, references, section, text
from edgetl.reporting.text import MILLISECONDS, PERCENT, POINTS, TIMES, counted, in_prose, listed

_GATE_ORDER = {"passed": 0, "undecided": 1, "none": 1}


def best_engine(rows: list[Row]) -> Row | None:
    """The fastest engine that did not fail its gate; a passed gate and a measured latency go first."""
    fit = [row for row in rows if not row.error and row.accuracy and row.p50 and row.gate in _GATE_ORDER]
    return min(fit, key=_preference, default=None)


def _preference(row: Row) -> tuple[int, bool, float]:
    assert row.p50 is not None
    return _GATE_ORDER[row.gate], row.p50.kind != "measured", row.p50.value


def verdict(results: Mapping[str, Any]) -> str:
    """One paragraph made from the numbers: the best engine, its price, its gain, what is missing."""
    made = engines(results)
    best = best_engine(made)
    sentences = [_best_sentence(best, made), *(_comparison(best, results) if best else [])]
    sentences += _outcomes(made)
    for what in ("latency", "accuracy"):
        missing = [row.name for row in made if not row.error and _lacks(row, what)]
        sentences += [f"There is no {what} of {listed(missing)}."] if missing else []
    inexact = [row.name for row in made if any(q.kind != "measured" for _, q in row.quantities())]
    sentences += [f"Some figures of {listed(inexact)} are simulated or estimated."] if inexact else []
    return " ".join(sentences)


def _lacks(row: Row, what: str) -> bool:
    return (row.p50 if what == "latency" else row.accuracy) is None


def _best_sentence(best: Row | None, made: list[Row]) -> str:
    if not made:
        return "No engine is in this document."
    if best is None:
        if all(row.error for row in made):
            return "No engine could be made."
        if any(row.gate == "failed" and not row.error for row in made):
            return "No engine with both accuracy and latency is left after the gates."
        return "No engine has both an accuracy and a latency, so none can be called the best."
    standing = {"passed": "that passed its gate", "undecided": "that did not fail its gate (it is undecided)"}
    what = ", ".join(part for part in (best.backend, best.precision) if part)
    named = f"{best.name} ({what})" if what else best.name
    return f"The fastest engine {standing.get(best.gate, '(no gate was set)')} is {named}."


def _comparison(best: Row, results: Mapping[str, Any]) -> list[str]:
    assert best.accuracy is not None
    assert best.p50 is not None
    images = f" on {counted(best.accuracy.n, 'image')}" if best.accuracy.n else ""
    accuracy = f"Its accuracy is {in_prose(best.accuracy, PERCENT)}{images}"
    reference = reference_accuracy(best, results)
    against = f", against {in_prose(reference, PERCENT)} for FP32" if reference else ""
    latency = f"Its median latency is {in_prose(best.p50, MILLISECONDS)}"
    gain = f", {in_prose(best.speedup, TIMES)} FP32's speed on the same backend" if best.speedup else ""
    return [f"{accuracy}{against}{_drop_clause(best.drop)}.", f"{latency}{gain}."]


def reference_accuracy(row: Row, results: Mapping[str, Any]) -> Quantity | None:
    """FP32's accuracy on the row's own backend, else FP32's accuracy as such."""
    same = [ref.accuracy for ref in references(results) if ref.backend == row.backend and ref.accuracy]
    return same[0] if same else quantity(section(results, "fp32").get("accuracy"))


def _drop_clause(drop: Quantity | None) -> str:
    if drop is None:
        return ""
    word = "gain" if drop.value < 0 else "drop"
    size = POINTS.full(abs(drop.value))
    if drop.low is None or drop.high is None:
        return f"; a {word} of {size}"
    if drop.low <= 0 <= drop.high:
        return f"; the {word} of {size} cannot be told from none, its interval includes zero"
    return f"; the {word} of {size} is larger than chance explains"


def _outcomes(made: list[Row]) -> list[str]:
    failed = [row.name for row in made if row.gate == "failed" and not row.error]
    broken = [row.name for row in made if row.error]
    undecided = [row.name for row in made if row.gate == "undecided" and not row.error]
    lines = [f"{listed(failed)} failed {_own(failed, 'gate')}."] if failed else []
    lines += [f"Too few images to decide the gate of {listed(undecided)}."] if undecided else []
    return lines + ([f"{listed(broken)} could not be made."] if broken else [])


def _own(names: list[str], thing: str) -> str:
    return f"its {thing}" if len(names) == 1 else f"their {thing}s"


def gaps(results: Mapping[str, Any]) -> list[str]:
    """What was not measured, one line each, for the whole document and then engine by engine."""
    lines = _document_gaps(results)
    for row in references(results) + engines(results):
        lines += _row_gaps(row)
    return lines


def _document_gaps(results: Mapping[str, Any]) -> list[str]:
    lines = []
    data = section(results, "dataset")
    if text(data, "held_out") == "val" and not number(data.get("test")):
        lines.append("There is no separate test part: accuracy is that on the validation part.")
    if quantity(section(results, "fp32").get("accuracy")) is None:
        lines.append("The FP32 model's accuracy.")
    if not section(section(results, "export"), "parity"):
        lines.append("The parity of the exported ONNX model with the trained one.")
    return lines


def _row_gaps(row: Row) -> list[str]:
    if row.error:
        return [f"{row.name}: nothing, it could not be made ({row.error})."]
    if row.plan:
        return [_plan_gap(row), *_inexact(row)]
    absent = [name for name, value in (("accuracy", row.accuracy), ("latency", row.p50)) if value is None]
    absent += ["throughput"] if row.throughput is None else []
    if not row.reference:
        absent += ["agreement with FP32"] if row.agreement is None else []
        absent += ["placement"] if not section(row.source, "placement") else []
        absent += ["cold start"] if number(row.source.get("cold_start_ms")) is None else []
    lines = [f"{row.name}: {listed(absent)}."] if absent else []
    if row.p50 and row.p99 is None:
        lines.append(f"{row.name}: p99 latency, for which {counted(row.p50.n, 'sample')} are too few.")
    return lines + _inexact(row)


def _plan_gap(row: Row) -> str:
    """What a machine without the device can't know of an engine."""
    known = (("accuracy", row.accuracy), ("agreement with FP32", row.agreement))
    absent = [*(name for name, value in known if value is None), "latency", "throughput", "placement"]
    return f"{row.name}: {', '.join(absent)}: the engine is built on the device with: edgetl build BUNDLE"


def _inexact(row: Row) -> list[str]:
    lines = []
    for kind in ("simulated", "estimated"):
        names = [name for name, value in row.quantities() if value.kind == kind]
        verb = "is" if len(names) == 1 else "are"
        lines += [f"{row.name}: {listed(names)} {verb} {kind}."] if names else []
    return lines
