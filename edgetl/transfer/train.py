"""Training: a frozen backbone compiled once, features once per image, the head fitted to the optimum."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import EngineSpec
from edgetl.context import Context, open_throughput
from edgetl.contract import Contract
from edgetl.data import Dataset, Sample
from edgetl.errors import InputError
from edgetl.files import atomic_folder, digest_of, sha256_file
from edgetl.metrics import Metrics, evaluate
from edgetl.store import Entry
from edgetl.transfer.backbones import Backbone, load
from edgetl.transfer.features import Features, extract
from edgetl.transfer.head import Head, fit_head
from edgetl.versions import versions

_MODEL = "backbone.onnx"
_HEAD = "head.npz"
_FACTS = "model.json"
_EXPORTERS = ("torch", "onnx", "onnxscript", "onnxslim")
_FITTERS = ("numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class FittedHead:
    """A head with what it was fitted on.

    Attributes:
        metrics: on the held-out images' features; None if there are none.
        features_seconds: wall-clock seconds the features took when they were computed.
        head_seconds: wall-clock seconds of the fit, cross-validation included.
    """

    head: Head
    features: Features
    metrics: Metrics | None
    features_seconds: float
    head_seconds: float


@dataclass(frozen=True)
class Trained:
    """A trained model: backbone graph, head, contract and labels.

    Attributes:
        backbone: ONNX file, ``images: uint8 [N, H, W, 3] → features: float32 [N, D]``.
    """

    backbone: Path
    source: Backbone
    contract: Contract
    labels: tuple[str, ...]
    fitted: FittedHead


def compile_backbone(context: Context, backbone: Backbone) -> tuple[Path, Contract]:
    """The backbone as ONNX with the contract's prefix; torch is imported only if the store has it not."""
    parts = {**backbone.parts(), "exporters": versions(*_EXPORTERS), "prefix": 1}

    def make(folder: Path) -> Mapping[str, Any]:
        from edgetl.export.torch_onnx import export_backbone

        module, contract = load(backbone)
        facts = export_backbone(module, contract, folder / _MODEL)
        return {**facts, "contract": contract.to_dict()}

    with context.observer.stage(f"export backbone {backbone.name}"):
        entry = context.store.get("backbone", parts, make)
    return entry.file(_MODEL), Contract.from_dict(entry.facts["contract"])


def train(context: Context, dataset: Dataset, backbone: Backbone, *, seed: int = 0) -> tuple[Trained, Dataset]:
    """Fit a new head on a frozen backbone.

    Returns:
        The model, and the dataset without the images that turned out unreadable.

    Raises:
        InputError: if too few images can be read.
    """
    graph, contract = compile_backbone(context, backbone)
    fitted, dataset = fit_on_engine(context, graph, context.reference, contract, dataset, seed=seed)
    return Trained(graph, backbone, contract, dataset.classes, fitted), dataset


def fit_on_engine(
    context: Context,
    graph: Path,
    spec: EngineSpec,
    contract: Contract,
    dataset: Dataset,
    *,
    seed: int = 0,
    title: str = "features",
) -> tuple[FittedHead, Dataset]:
    """Take the images' features through an engine and fit a head to those of the training side.

    Args:
        graph: backbone as ONNX, float or quantized.

    Returns:
        The head, and the dataset without the images that turned out unreadable.
    """
    parts = {"model": sha256_file(graph), **context.engine_parts(spec)}
    samples = (*dataset.train, *dataset.val, *dataset.test)
    with context.observer.stage(title) as advance:
        timer = _Stopwatch(context, {**parts, "images": dataset.digest})
        features = extract(
            lambda: open_throughput(graph, spec), samples, contract, context.store, parts, advance
        )
        seconds = timer.stop(features.computed, len(samples))
    if features.unreadable:
        dataset = dataset.without(features.unreadable)
    with context.observer.stage("fit head"):
        entry = _head_entry(context, features, dataset, seed)
    head = _read_head(entry.file(_HEAD), entry.facts)
    metrics = _held_out_metrics(head, features, dataset.held_out, len(dataset.classes))
    return FittedHead(head, features, metrics, seconds, entry.facts["seconds"]), dataset


def _head_entry(context: Context, features: Features, dataset: Dataset, seed: int) -> Entry:
    rows = [(sample.digest, sample.label) for sample in dataset.train]
    parts = {
        "rows": digest_of(rows),
        "features": digest_of([entry.digest for entry in features.entries]),
        "classes": len(dataset.classes),
        "seed": seed,
        "fitters": versions(*_FITTERS),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        labels = np.array([label for _, label in rows])
        head = fit_head(
            features.matrix(dataset.train), labels, len(dataset.classes), seed=seed, groups=[digest for digest, _ in rows]
        )
        np.savez(folder / _HEAD, weight=head.weight, bias=head.bias)
        return {"l2": head.l2, "cross_validation": [list(step) for step in head.cross_validation]}

    return context.store.get("head", parts, make)


def _read_head(path: Path, facts: Mapping[str, Any]) -> Head:
    with np.load(path, allow_pickle=False) as arrays:
        path_steps = tuple((float(l2), float(accuracy)) for l2, accuracy in facts["cross_validation"])
        return Head(arrays["weight"], arrays["bias"], facts["l2"], path_steps)


def _held_out_metrics(head: Head, features: Features, samples: tuple[Sample, ...], classes: int) -> Metrics | None:
    if not samples:
        return None
    labels = np.array([sample.label for sample in samples])
    return evaluate(head.logits(features.matrix(samples)), labels, classes)


class _Stopwatch:
    """Remembers how long a first extraction took, so that a run from the store can still tell."""

    def __init__(self, context: Context, parts: Mapping[str, Any]) -> None:
        self._store, self._parts = context.store, parts
        self._start = time.perf_counter()

    def stop(self, computed: int, total: int) -> float:
        elapsed = time.perf_counter() - self._start
        whole = computed == total
        entry = self._store.get("timing", self._parts, lambda folder: {"elapsed": elapsed if whole else None})
        return float(entry.facts["elapsed"] or elapsed)


def save_model(trained: Trained, out: Path, facts: Mapping[str, Any]) -> None:
    """Write a model folder: the backbone's graph, the head, and ``model.json``."""
    head = trained.fitted.head
    with atomic_folder(out) as folder:
        (folder / _MODEL).write_bytes(trained.backbone.read_bytes())
        np.savez(folder / _HEAD, weight=head.weight, bias=head.bias)
        document = {
            "schema": "edgetl.model/1",
            "contract": trained.contract.to_dict(),
            "labels": list(trained.labels),
            "backbone": {"name": trained.source.name, "weights": trained.source.digest},
            "weights_file": str(trained.source.weights) if trained.source.weights else None,
            "l2": head.l2,
            "cross_validation": [list(step) for step in head.cross_validation],
            **facts,
        }
        (folder / _FACTS).write_text(json.dumps(document, indent=1) + "\n")


@dataclass(frozen=True)
class SavedModel:
    """A model folder read back."""

    backbone: Path
    source: Backbone
    contract: Contract
    labels: tuple[str, ...]
    head: Head


def read_model(folder: Path) -> SavedModel:
    """Read a folder that :func:`save_model` wrote.

    Raises:
        InputError: if it is no model folder, or damaged.
    """
    path = folder / _FACTS
    if not path.is_file():
        raise InputError(f"{folder} is not a model folder (no {_FACTS}); make one with: edgetl train IMAGES -o {folder}")
    try:
        document = json.loads(path.read_text())
        weights = document["weights_file"]
        return SavedModel(
            backbone=folder / _MODEL,
            source=Backbone(document["backbone"]["name"], Path(weights) if weights else None, document["backbone"]["weights"]),
            contract=Contract.from_dict(document["contract"]),
            labels=tuple(document["labels"]),
            head=_read_head(folder / _HEAD, document),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is damaged: {type(error).__name__}: {error}") from error

