"""The story entered midway: somebody who arrives with an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import UInt8
from edgetl.bundle.write import write_bundle
from edgetl.bundling import GOLDEN_IMAGES, content_of
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Dataset, Sample, list_images, load_dataset
from edgetl.deploy import head_ranges
from edgetl.engines import build_engine, stand_in, standing
from edgetl.errors import BackendError, InputError
from edgetl.exporting.foreign import Graph, open_graph
from edgetl.exporting.graph import read, save, with_metadata
from edgetl.exporting.head import NODE, has_float_head, remove_head
from edgetl.exporting.stage import assemble
from edgetl.files import sha256_file, write_atomic
from edgetl.measurement.stage import wrong_precision
from edgetl.pipeline import require_writable
from edgetl.profiles import Recipe, Target
from edgetl.quantization.stage import MODEL, quantize_graph
from edgetl.results import relabelled
from edgetl.transfer.train import FittedHead, fit_on_engine


@dataclass(frozen=True)
class _Source:
    """Calibration images: the training side of a labelled folder, or all of an unlabelled one."""

    samples: tuple[Sample, ...]
    dataset: Dataset | None
    skipped: tuple[Any, ...]


def quantize_file(
    context: Context,
    onnx: Path,
    images: Path,
    target: Target,
    recipe: Recipe,
    out: Path,
    *,
    declared: Contract | None,
    refit_head: bool,
    seed: int,
) -> dict[str, Any]:
    """Quantize an ONNX file; see :func:`edgetl.api.quantize`.

    Raises:
        InputError: if the model is quantized already, the target is not INT8, or there are no images.
    """
    graph = open_graph(context, onnx, declared)
    if graph.quantized:
        raise InputError(
            f"{onnx} is quantized already; build it with: edgetl build {onnx} --target {target.name}"
        )
    if target.precision != "int8":
        raise InputError(f"target {target.name} computes in {target.precision}; there is nothing to quantize")
    require_writable(out.parent)
    source = _calibration_source(images, seed)
    fits = source.dataset is not None and source.dataset.classes == graph.labels
    if refit_head and fits and has_float_head(read(graph.path)):
        path, found, count = _quantize_and_refit(context, graph, source, target, recipe, seed)
        refit = relabelled(found, standing(target, context.environment).kind)
        trained_on = {*graph.trained_on, *(sample.digest for sample in source.samples)}
    else:
        keep = _kept(graph, target)
        with context.observer.stage(f"quantize for {target.name}"):
            entry = quantize_graph(
                context,
                graph.path,
                graph.contract,
                source.samples,
                target,
                recipe,
                seed=seed,
                keep_float=keep,
            )
        path, refit, count = entry.file(MODEL), None, entry.facts["images"]
        trained_on = set(graph.trained_on)
    write_atomic(out, with_metadata(path, graph.contract, graph.labels, trained_on))
    return {
        "onnx": str(out),
        "target": target.name,
        "recipe": recipe.name,
        "contract": graph.contract.fingerprint,
        "calibration_images": count,
        "refit": {"after": refit} if refit else None,
        "skipped": [{"path": item.path, "reason": item.reason} for item in source.skipped],
    }


def _kept(graph: Graph, target: Target) -> tuple[str, ...]:
    """A head of edgetl's stays in float, except where the backend wants it quantized too."""
    head = has_float_head(read(graph.path)) and not get_backend(target.backend).int8_head
    return (NODE,) if head else ()


def _calibration_source(images: Path, seed: int) -> _Source:
    """Class folders are split as training would, so that held-out images never calibrate."""
    try:
        dataset = load_dataset(images, seed=seed)
    except InputError:
        if not images.is_dir():
            raise
        files, skipped = list_images(images)
        if not files:
            raise
        samples = tuple(Sample(str(path), 0, sha256_file(path)) for path in files)
        return _Source(samples, None, tuple(skipped))
    return _Source(dataset.train, dataset, dataset.skipped)


def _quantize_and_refit(
    context: Context, graph: Graph, source: _Source, target: Target, recipe: Recipe, seed: int
) -> tuple[Path, dict[str, Any] | None, int]:
    assert source.dataset is not None

    def make(folder: Path) -> Mapping[str, Any]:
        save(remove_head(read(graph.path)), folder / MODEL)
        return {}

    bare = context.store.get("headless", {"model": sha256_file(graph.path)}, make)
    with context.observer.stage(f"quantize for {target.name}"):
        entry = quantize_graph(
            context, bare.file(MODEL), graph.contract, source.samples, target, recipe, seed=seed
        )
    spec = stand_in(target, MODEL)
    fitted, _ = fit_on_engine(
        context,
        entry.file(MODEL),
        spec,
        graph.contract,
        source.dataset,
        seed=seed,
        title="features of the INT8 backbone",
    )
    final = assemble(
        context,
        entry.file(MODEL),
        fitted.head,
        graph.contract,
        graph.labels,
        ranges=head_ranges(fitted, source.dataset.train, target),
    )
    return final.path, _accuracy(fitted), entry.facts["images"]


def _accuracy(fitted: FittedHead) -> dict[str, Any] | None:
    return fitted.metrics.accuracy.to_dict() if fitted.metrics else None


def build_bundle(
    context: Context, onnx: Path, target: Target, out: Path, *, declared: Contract | None
) -> dict[str, Any]:
    """Build an engine from an ONNX and bundle it; see :func:`edgetl.api.build`.

    Raises:
        InputError: if a float model is given to an INT8 target.
    """
    graph = open_graph(context, onnx, declared)
    if target.precision != "int8" and graph.quantized:
        raise InputError(f"{onnx} is quantized; target {target.name} was asked for in {target.precision}")
    if target.precision == "int8" and not graph.quantized:
        instead = "" if target.processor == "npu" else ", or ask for a float engine with --precision f32"
        raise InputError(
            f"{onnx} is float but target {target.name} is INT8; quantize it first (edgetl quantize){instead}"
        )
    require_writable(out.parent)
    with context.observer.stage(f"build {target.name}"):
        engine = build_engine(context, graph.path, target)
        content = content_of(
            context,
            engine,
            graph.contract,
            graph.labels,
            _pattern(graph.contract),
            provenance={"onnx": sha256_file(onnx)},
            measurements={},
            trained_on=graph.trained_on,
        )
        proof = engine.proof
        told = engine.standing.loads or (proof is not None and proof.precision is not None)
        if fault := wrong_precision(engine, content.precision) if told else None:
            raise BackendError(
                f"{fault}; quantize the float model for this target: edgetl quantize -t {target.name}"
            )
        write_bundle(content, out)
    return {
        "bundle": str(out),
        "target": target.name,
        "backend": target.backend,
        "state": engine.state,
        "layers": proof.layers if proof else None,
        "precision": dict(content.precision),
        "size_bytes": engine.size_bytes,
        "contract": graph.contract.fingerprint,
        "standing": engine.standing.reason,
        "computer": target.computer,
    }


def _pattern(contract: Contract) -> UInt8:
    """Golden input where there are no images: smooth random blobs, the same every time."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (GOLDEN_IMAGES, 7, 7, 3), dtype=np.uint8)
    rows = np.arange(contract.height) * 7 // contract.height
    columns = np.arange(contract.width) * 7 // contract.width
    blobs: UInt8 = coarse[:, rows][:, :, columns]
    return blobs
