"""The results document: one JSON value whose core other tools can rely on (``edgetl schema``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.contract import Contract
from edgetl.data import Dataset, Sample
from edgetl.data.dataset import printable, relative
from edgetl.engines import Engine, reference_name
from edgetl.errors import InputError
from edgetl.files import write_atomic
from edgetl.gate.judge import Gate, judge, judge_drop, judge_fallback, judge_latency
from edgetl.gate.paired import agreement, paired_drop
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.stage import Speed, wrong_precision
from edgetl.metrics import evaluate
from edgetl.quantity import Kind, Quantity, proportion
from edgetl.versions import version_of

SCHEMA = "edgetl.results/1"


@dataclass(frozen=True)
class Measured:
    """One engine with what is known of it; ``error`` says in one line why something is not."""

    engine: Engine
    predictions: Predictions | None
    speed: Speed | None
    error: str | None = None

    @property
    def precision(self) -> Mapping[str, Any] | None:
        """Read back from the loaded engine, else from its builder; None for one not built yet."""
        if self.speed:
            return self.speed.precision
        proof = self.engine.proof
        return proof.precision.to_dict() if proof and proof.precision else None

    @property
    def placement(self) -> Mapping[str, Any] | None:
        """As ``precision``."""
        if self.speed:
            return self.speed.placement
        proof = self.engine.proof
        return proof.placement.to_dict() if proof and proof.placement else None

    def wrong_precision(self) -> str | None:
        """What to say of an engine that computes in another precision than was asked for."""
        return wrong_precision(self.engine, self.precision) if self.precision else None


@dataclass(frozen=True)
class Budgets:
    """Gates asked for: accuracy drop in percentage points, p50 latency in milliseconds, and the share (0..1)
    of nodes or of time that may run elsewhere than on the device asked for."""

    max_drop: float | None = None
    max_latency: float | None = None
    max_fallback: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_fallback <= 1:
            raise InputError(f"max_fallback is a share from 0 to 1, not {self.max_fallback}")


@dataclass(frozen=True)
class Scene:
    """What all engines of a document share.

    Attributes:
        reference: predictions of the float engine, which drops are counted against.
    """

    dataset: Dataset
    contract: Contract
    reference: Predictions | None
    budgets: Budgets = field(default_factory=Budgets)

    @property
    def samples(self) -> Sequence[Sample]:
        return self.dataset.held_out


def document(scene: Scene, environment: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """The document's frame; ``sections`` are its train, export, fp32 and engines parts."""
    return {
        "schema": SCHEMA,
        "edgetl": version_of("edgetl") or "checkout",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "contract": scene.contract.fingerprint,
        "contract_value": scene.contract.to_dict(),
        "environment": dict(environment),
        "dataset": _dataset_section(scene.dataset),
        "skipped": [{"path": item.path, "reason": item.reason} for item in scene.dataset.skipped],
        **sections,
    }


def _dataset_section(dataset: Dataset) -> dict[str, Any]:
    summary = dataset.to_dict()
    counts = summary.pop("counts")
    per_class = {
        name: {split: counts[split]["classes"][name] for split in counts} for name in dataset.classes
    }
    totals = {split: counts[split]["total"] for split in counts}
    return {**summary, **totals, "per_class": per_class, "held_out": dataset.held_out_name}


def float_section(scene: Scene, references: Sequence[Measured]) -> dict[str, Any]:
    """The ``fp32`` part: quality of the float model, and its speed in each backend."""
    quality = _quality(scene, scene.reference)
    engines = [
        {
            "backend": item.engine.spec.backend,
            "precision": item.speed.precision["used"] if item.speed else "f32",
            "precision_detail": item.speed.precision if item.speed else None,
            "size_bytes": item.engine.size_bytes,
            "accuracy": _quality(scene, item.predictions)["accuracy"],
            **_speed_facts(item),
            "error": item.error,
        }
        for item in references
    ]
    return {**quality, "engines": engines}


def engine_section(scene: Scene, item: Measured, bundle: str | None, **facts: Any) -> dict[str, Any]:
    """One entry of ``engines``."""
    drop, agree = _against_reference(scene, item)
    proof = item.engine.proof
    p50 = _quantity(_speed_facts(item)["latency_ms"], "p50")
    budgets = scene.budgets
    gate, reasons = judge(
        judge_drop(drop, budgets.max_drop),
        judge_latency(p50, budgets.max_latency),
        judge_fallback(item.placement, budgets.max_fallback),
    )
    return {
        "target": item.engine.name,
        "backend": item.engine.spec.backend,
        "precision": item.precision["used"] if item.precision else item.engine.spec.precision,
        "precision_detail": item.precision,
        "state": item.engine.state,
        "layers": proof.layers if proof else None,
        "estimate": proof.estimate if proof else None,
        "bundle": bundle,
        "size_bytes": item.engine.size_bytes,
        **_quality(scene, item.predictions, item),
        "drop_points": drop.to_dict() if drop else None,
        "agreement": agree.to_dict() if agree else None,
        **_speed_facts(item),
        "placement": item.placement,
        "standing": item.engine.standing.reason,
        "changed": _changed(scene, item.predictions),
        "mistakes": _mistakes(scene, item.predictions),
        "gate": _gate(gate, item.error),
        "gate_reasons": reasons,
        "error": item.error,
        **facts,
    }


def transfer_section(
    samples: Sequence[Sample],
    here: Predictions | None,
    there: Predictions | None,
    kind_here: Kind,
    kind: Kind,
) -> dict[str, Any]:
    """What is lost from the host to a device: both through the same bundle, on the same images.

    Args:
        kind_here: "simulated" where a simulator answered for the engine.
        kind: of what was found on the device.
    """
    names = ("accuracy", "drop_points", "agreement", "max_abs", "mean_abs")
    if here is None or there is None:
        return dict.fromkeys(names)
    truth, before, after = _paired(samples, here, there)
    drop, agree = paired_drop(before == truth, after == truth), agreement(before, after)
    own, theirs = (dict(zip(each.rows, each.logits, strict=True)) for each in (here, there))
    rows = sorted(own.keys() & theirs.keys())
    apart = np.abs(np.stack([own[row] for row in rows]) - np.stack([theirs[row] for row in rows]))
    found = Quantity(float(apart.max()), None, None, len(rows), kind)
    return {
        "accuracy": proportion(int((before == truth).sum()), len(truth), kind_here).to_dict(),
        "drop_points": replace(drop, kind=kind).to_dict(),
        "agreement": replace(agree, kind=kind).to_dict(),
        "max_abs": found.to_dict(),
        "mean_abs": replace(found, value=float(apart.mean())).to_dict(),
    }


def failed_section(target: str, backend: str, precision: str, error: str) -> dict[str, Any]:
    """The entry of a target for which no engine could be made."""
    absent = (
        *("bundle", "size_bytes", "accuracy", "drop_points", "agreement", "latency_ms", "throughput_per_s"),
        *("placement", "speedup", "refit", "recipe"),
    )
    return {
        "target": target,
        "backend": backend,
        "precision": precision,
        **dict.fromkeys(absent),
        "changed": [],
        "mistakes": [],
        "latency_samples_ms": [],
        "gate": "failed",
        "error": error,
    }


def _gate(gate: Gate, error: str | None) -> Gate:
    return "failed" if error and gate != "none" else gate


def _quality(scene: Scene, found: Predictions | None, item: Measured | None = None) -> dict[str, Any]:
    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "per_class", "confusion")
    if found is None:
        return dict.fromkeys(names)
    truth = np.array([scene.samples[row].label for row in found.rows])
    metrics = evaluate(found.logits, truth, len(scene.dataset.classes)).to_dict(scene.dataset.classes)
    if item is not None and item.engine.standing.kind != "measured":
        metrics = relabelled(metrics, item.engine.standing.kind)
    return {name: metrics[name] for name in names}


def relabelled(value: Any, kind: str) -> Any:
    """The same JSON value with the kind of every quantity in it replaced."""
    if isinstance(value, dict):
        changed = {key: relabelled(inner, kind) for key, inner in value.items()}
        return {**changed, "kind": kind} if "kind" in changed else changed
    if isinstance(value, list):
        return [relabelled(inner, kind) for inner in value]
    return value


def _against_reference(scene: Scene, item: Measured) -> tuple[Quantity | None, Quantity | None]:
    reference, found = scene.reference, item.predictions
    if reference is None or found is None:
        return None, None
    truth, before, after = _paired(scene.samples, reference, found)
    kind = item.engine.standing.kind
    drop, agree = paired_drop(before == truth, after == truth), agreement(before, after)
    return replace(drop, kind=kind), replace(agree, kind=kind)


def _paired(
    samples: Sequence[Sample], a: Predictions, b: Predictions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and both predictions of the images that both could read."""
    first = dict(zip(a.rows, a.logits.argmax(1), strict=True))
    second = dict(zip(b.rows, b.logits.argmax(1), strict=True))
    rows = sorted(first.keys() & second.keys())
    truth = np.array([samples[row].label for row in rows])
    return truth, np.array([first[row] for row in rows]), np.array([second[row] for row in rows])


def _changed(scene: Scene, found: Predictions | None) -> list[dict[str, str]]:
    if scene.reference is None or found is None:
        return []
    names = scene.dataset.classes
    before = dict(zip(scene.reference.rows, scene.reference.logits.argmax(1), strict=True))
    return [
        {**_labelled(scene, row), "before": names[before[row]], "after": names[after]}
        for row, after in zip(found.rows, found.logits.argmax(1), strict=True)
        if row in before and before[row] != after
    ]


def _mistakes(scene: Scene, found: Predictions | None) -> list[dict[str, str]]:
    """What an engine gets wrong: enough to compare it with a later one image by image."""
    if found is None:
        return []
    return [
        {
            **_labelled(scene, row),
            "predicted": scene.dataset.classes[predicted],
            "image": scene.samples[row].digest,
        }
        for row, predicted in zip(found.rows, found.logits.argmax(1), strict=True)
        if scene.samples[row].label != predicted
    ]


def _labelled(scene: Scene, row: int) -> dict[str, str]:
    sample = scene.samples[row]
    return {"path": _relative(sample.path, scene.dataset.root), "label": scene.dataset.classes[sample.label]}


def _relative(path: Path, root: Path) -> str:
    return relative(path, root) if path.is_relative_to(root) else printable(path.as_posix())


def _speed_facts(item: Measured) -> dict[str, Any]:
    """Latency and throughput, or nulls where this machine can't speak for the target."""
    speed = item.speed
    if speed is None or speed.latency is None or not item.engine.standing.latency:
        return {"latency_ms": None, "latency_samples_ms": [], "throughput_per_s": None, "speedup": None}
    latency = speed.latency
    own = speed.speedup.get(reference_name(item.engine.spec))
    return {
        "latency_ms": {name: latency[name] for name in ("p50", "p90", "p99", "mean", "maximum")},
        "latency_samples_ms": latency["samples_ms"],
        "latency_notes": latency["notes"],
        "first_ms": latency["first_ms"],
        "jitter": latency["jitter"],
        "throughput_per_s": speed.throughput,
        "speedup": own,
        "speedups": dict(speed.speedup),
        "layer_times": list(speed.layer_times),
        "measured_at": speed.measured_at,
    }


def _quantity(facts: Mapping[str, Any] | None, name: str) -> Quantity | None:
    return Quantity.from_dict(facts[name]) if facts and facts.get(name) else None


def write_results(results: Mapping[str, Any], path: Path) -> Path:
    """Write the document, whole or not at all."""
    return write_atomic(path, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def read_document(path: Path) -> dict[str, Any]:
    """A bundle's measurements, or nothing where they can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_results(path: Path) -> dict[str, Any]:
    """Read a results document.

    Raises:
        InputError: if it is missing, or of another schema.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise InputError(f"{file} is not a results document of schema {SCHEMA}")
    return results
