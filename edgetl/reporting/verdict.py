"""What the numbers say and what they do not: the report's first paragraph and its last section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetl.quantity import Quantity
from edgetl.reporting.markup import clean
from edgetl.reporting.read import Row, engines, items, number, quantity, references, section, text
from edgetl.reporting.roofline import share_sentence
from edgetl.reporting.text import MILLISECONDS, PERCENT, POINTS, TIMES, counted, in_prose, listed

_GATE_ORDER = {"passed": 0, "undecided": 1, "none": 1}


def best_engine(rows: list[Row]) -> Row | None:
    """The fastest engine that did not fail its gate; a passed gate and a measured latency go first.

    Where there is but one, it need not have both accuracy and latency.
    """
    fit = [row for row in rows if not row.error and row.gate in _GATE_ORDER]
    if len(rows) == 1:
        return next(iter(fit), None)
    return min((row for row in fit if row.accuracy and row.p50), key=_preference, default=None)


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
            return f"No engine could be {made[0].undone}."
        if any(row.gate == "failed" and not row.error for row in made):
            return "No engine with both accuracy and latency is left after the gates."
        return "No engine has both an accuracy and a latency, so none can be called the best."
    if len(made) == 1:
        return f"The engine is {_named(best)}{', which passed its gate' if best.gate == 'passed' else ''}."
    standing = {"passed": "that passed its gate", "undecided": "that did not fail its gate (it is undecided)"}
    return f"The fastest engine {standing.get(best.gate, '(no gate was set)')} is {_named(best)}."


def _named(row: Row) -> str:
    what = ", ".join(part for part in (row.backend, row.precision) if part)
    return f"{row.name} ({what})" if what else row.name


def _comparison(best: Row, results: Mapping[str, Any]) -> list[str]:
    sentences = []
    if best.accuracy:
        images = f" on {counted(best.accuracy.n, 'image')}" if best.accuracy.n else ""
        accuracy = f"Its accuracy is {in_prose(best.accuracy, PERCENT)}{images}"
        reference = reference_accuracy(best, results)
        against = f", against {in_prose(reference, PERCENT)} for FP32" if reference else ""
        sentences.append(f"{accuracy}{against}{_drop_clause(best.drop)}.")
    agreement = quantity(section(section(best.source, "device"), "host").get("agreement"))
    if agreement:
        sentences.append(
            f"Host and device predict the same class for {in_prose(agreement, PERCENT)} of the images."
        )
    return sentences + _speed(best)


def _speed(best: Row) -> list[str]:
    if best.p50 is None:
        return []
    gain = f", {in_prose(best.speedup, TIMES)} FP32's speed on the same backend" if best.speedup else ""
    share = share_sentence(best)
    sustained = section(best.source, "sustained")
    slower = quantity(sustained.get("slowdown"))
    doubts = [clean(note) for note in items(best.source, "latency_notes")]
    sentences = [
        f"Its median latency is {in_prose(best.p50, MILLISECONDS)}{gain}.",
        f"It {share}." if share else "",
        f"Its latency needs care: {'; '.join(doubts)}." if doubts else "",
        f"It was throttled: it ended at {in_prose(slower, TIMES)} its first latency."
        if slower and sustained.get("throttled") is True
        else "",
    ]
    return [sentence for sentence in sentences if sentence]


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
    undecided = [row.name for row in made if row.gate == "undecided" and not row.error]
    lines = [f"{listed(failed)} failed {_own(failed, 'gate')}."] if failed else []
    lines += [f"Too few images to decide the gate of {listed(undecided)}."] if undecided else []
    for undone in ("made", "measured"):
        broken = [row.name for row in made if row.error and row.undone == undone]
        lines += [f"{listed(broken)} could not be {undone}."] if broken else []
    return lines


def _own(names: list[str], thing: str) -> str:
    return f"its {thing}" if len(names) == 1 else f"their {thing}s"


def gaps(results: Mapping[str, Any]) -> list[str]:
    """What was not measured, one line each, for the whole document and then engine by engine."""
    lines = _document_gaps(results)
    for row in references(results) + engines(results):
        lines += _row_gaps(row, _has_reference(results))
    return lines


def _has_reference(results: Mapping[str, Any]) -> bool:
    """Whether the document has a float model, to which engines are compared; a bundle alone has none."""
    return bool(references(results) or section(results, "train") or section(results, "export"))


def _document_gaps(results: Mapping[str, Any]) -> list[str]:
    lines = []
    data = section(results, "dataset")
    if text(data, "held_out") == "val" and not number(data.get("test")):
        lines.append("There is no separate test part: accuracy is that on the validation part.")
    if not _has_reference(results):
        return [*lines, "The float model, and so drop, agreement with it and speed-up."]
    if quantity(section(results, "fp32").get("accuracy")) is None:
        lines.append("The FP32 model's accuracy.")
    if not section(section(results, "export"), "parity"):
        lines.append("The parity of the exported ONNX model with the trained one.")
    return lines


def _row_gaps(row: Row, compared: bool) -> list[str]:
    if row.error:
        return [f"{row.name}: nothing, it could not be {row.undone} ({row.error})."]
    if row.plan:
        return [_plan_gap(row), *_inexact(row)]
    absent = [name for name, value in (("accuracy", row.accuracy), ("latency", row.p50)) if value is None]
    absent += ["throughput"] if row.throughput is None else []
    if not row.reference:
        absent += ["agreement with FP32"] if compared and row.agreement is None else []
        absent += ["placement"] if not section(row.source, "placement") else []
        absent += ["cold start"] if not section(row.source, "cold_start") else []
    lines = [f"{row.name}: {listed(absent)}."] if absent else []
    if row.p50 and row.p99 is None:
        lines.append(f"{row.name}: p99 latency, for which {counted(row.p50.n, 'sample')} are too few.")
    lines += [f"{row.name}: {clean(line)}." for line in items(row.source, "not_measured")]
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
