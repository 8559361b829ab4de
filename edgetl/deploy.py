"""From a trained float model to the engine of one target: quantize, refit, build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import Float32
from edgetl.context import Context
from edgetl.data import Dataset, Sample
from edgetl.engines import Engine, build_engine, stand_in
from edgetl.exporting.head import HeadRanges
from edgetl.exporting.stage import Exported, assemble
from edgetl.metrics import Metrics, evaluate
from edgetl.profiles import Recipe, Target
from edgetl.quantization.errors_by_layer import errors_by_layer
from edgetl.quantization.stage import MODEL, quantize_graph
from edgetl.transfer.head import Head
from edgetl.transfer.train import FittedHead, Trained, fit_on_engine


@dataclass(frozen=True)
class FloatModel:
    """What every target of a run starts from."""

    dataset: Dataset
    trained: Trained
    exported: Exported


@dataclass(frozen=True)
class Refit:
    """Held-out metrics of a head on the integer backbone, before and after it was fitted again."""

    before: Metrics
    after: Metrics

    def to_dict(self) -> dict[str, Any]:
        return {"before": self.before.accuracy.to_dict(), "after": self.after.accuracy.to_dict()}


@dataclass(frozen=True)
class Deployment:
    """An engine and how it came about.

    Attributes:
        recipe: the calibration recipe, None for a float engine.
        refit: None where the head was not fitted again.
        calibration_images: how many there were.
        errors: by layer, where the toolchain tells them.
    """

    target: Target
    engine: Engine
    recipe: Recipe | None
    refit: Refit | None
    calibration_images: int
    errors: Mapping[str, Any] | None = None


def deploy(
    context: Context, model: FloatModel, target: Target, recipe: Recipe, *, refit_head: bool, seed: int
) -> Deployment:
    """Make the engine of one target.

    Raises:
        BackendError: if its toolchain fails or is not installed.
        InputError: if the recipe does not fit the model or the backend.
    """
    if target.precision != "int8":
        with context.observer.stage(f"build {target.name}"):
            return Deployment(target, build_engine(context, model.exported.path, target), None, None, 0)
    trained, dataset = model.trained, model.dataset
    with context.observer.stage(f"quantize for {target.name}"):
        entry = quantize_graph(
            context, trained.backbone, trained.contract, dataset.train, target, recipe, seed=seed
        )
    fitted, refit = trained.fitted, None
    if refit_head:
        fitted, refit = _refit(context, model, entry.file(MODEL), target, seed)
    final = assemble(
        context,
        entry.file(MODEL),
        fitted.head,
        trained.contract,
        trained.labels,
        batch=target.batch,
        ranges=head_ranges(fitted, dataset.train, target),
    )
    with context.observer.stage(f"build {target.name}"):
        engine = build_engine(context, final.path, target)
    errors = None
    if get_backend(target.backend).analyses:
        with context.observer.stage(f"analyse errors for {target.name}"):
            exact = assemble(context, trained.backbone, fitted.head, trained.contract, trained.labels)
            errors = errors_by_layer(
                context, exact.path, final.path, trained.contract, dataset.train, target, recipe, seed=seed
            )
    return Deployment(target, engine, recipe, refit, entry.facts["images"], errors)


def _refit(
    context: Context, model: FloatModel, graph: Path, target: Target, seed: int
) -> tuple[FittedHead, Refit | None]:
    """Fit the head to the integer backbone's features; judge the old and the new one on the held-out ones."""
    contract, dataset = model.trained.contract, model.dataset
    title = f"features of the INT8 backbone for {target.name}"
    fitted, _ = fit_on_engine(
        context, graph, stand_in(target, MODEL), contract, dataset, seed=seed, title=title
    )
    if fitted.metrics is None:
        return fitted, None
    before = _held_out(model.trained.fitted.head, fitted, dataset)
    return fitted, Refit(before, fitted.metrics)


def head_ranges(fitted: FittedHead, samples: Sequence[Sample], target: Target) -> HeadRanges | None:
    """Ranges over the training images, for a head that is quantized too."""
    wanted = get_backend(target.backend).int8_head
    if wanted is None:
        return None
    features = fitted.features.matrix(samples)
    logits = fitted.head.logits(features) if wanted == "all" else None
    return HeadRanges(_range(features), None if logits is None else _range(logits))


def _range(values: Float32) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _held_out(head: Head, fitted: FittedHead, dataset: Dataset) -> Metrics:
    labels = np.array([sample.label for sample in dataset.held_out])
    return evaluate(head.logits(fitted.features.matrix(dataset.held_out)), labels, len(dataset.classes))
