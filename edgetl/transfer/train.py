"""Training: a frozen backbone compiled once, features once per image, the head fitted to the optimum."""

from __future__ import annotations

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
from edgetl.files import digest_of, sha256_file
from edgetl.metrics import Metrics, evaluate
from edgetl.store import Entry
from edgetl.transfer.backbones import Backbone
from edgetl.transfer.features import Features, extract
from edgetl.transfer.head import Head, fit_head
from edgetl.versions import versions

_HEAD = "head.npz"


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


def train(
    context: Context, dataset: Dataset, source: Backbone, graph: Path, contract: Contract, *, seed: int = 0
) -> tuple[Trained, Dataset]:
    """Fit a new head on a frozen backbone.

    Args:
        graph: the backbone as ONNX; see ``exporting.stage.compile_backbone``.

    Returns:
        The model, and the dataset without the images that turned out unreadable.

    Raises:
        InputError: if too few images can be read.
    """
    fitted, dataset = fit_on_engine(context, graph, context.reference, contract, dataset, seed=seed)
    return Trained(graph, source, contract, dataset.classes, fitted), dataset


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
    head = read_head(entry.file(_HEAD), entry.facts)
    metrics = _held_out_metrics(head, features, dataset.held_out, len(dataset.classes))
    return FittedHead(head, features, metrics, seconds, entry.facts["seconds"]), dataset


def _head_entry(context: Context, features: Features, dataset: Dataset, seed: int) -> Entry:
    rows = [(sample.digest, sample.label) for sample in dataset.train]
    parts = {
        "rows": digest_of(rows),
        "features": digest_of([entry.digest for entry in features.entries]),
        "classes": len(dataset.classes),
        "seed": seed,
        "fitter": versions("numpy"),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        labels = np.array([label for _, label in rows])
        head = fit_head(
            features.matrix(dataset.train),
            labels,
            len(dataset.classes),
            seed=seed,
            groups=[digest for digest, _ in rows],
        )
        np.savez(folder / _HEAD, weight=head.weight, bias=head.bias)
        return {"l2": head.l2, "cross_validation": [list(step) for step in head.cross_validation]}

    return context.store.get("head", parts, make)


def read_head(path: Path, facts: Mapping[str, Any]) -> Head:
    with np.load(path, allow_pickle=False) as arrays:
        path_steps = tuple((float(l2), float(accuracy)) for l2, accuracy in facts["cross_validation"])
        return Head(arrays["weight"], arrays["bias"], facts["l2"], path_steps)


def _held_out_metrics(
    head: Head, features: Features, samples: tuple[Sample, ...], classes: int
) -> Metrics | None:
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
