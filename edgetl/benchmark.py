"""The other story: from a bundle to what it does on this machine. Needs no torch, no onnx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.write import GOLDEN_INPUT, PORTABLE, TRAINED_ON
from edgetl.context import Context
from edgetl.data import Dataset, Skipped, load_dataset
from edgetl.engines import Engine, Standing, standing
from edgetl.errors import EdgetlError, InputError
from edgetl.files import digest_of
from edgetl.measurement.stage import measure_accuracy, measure_speed
from edgetl.results import Budgets, Measured, Scene, document, engine_section


def bench_bundle(
    context: Context, bundle: Path, images: Path | None, *, max_latency: float | None, again: bool
) -> dict[str, Any]:
    """Measure a bundle on this machine; see :func:`edgetl.api.bench`.

    With a labelled folder, accuracy is taken on those of its images that the bundle was not trained on.

    Raises:
        BundleError: if the bundle was altered.
        InputError: if the folder's classes are not the bundle's.
        EdgetlError: if the engine can't be loaded or run.
    """
    manifest = check_files(bundle)
    engine = _engine(bundle, manifest, _not_its_device(context, manifest.target))
    engine.open()  # one that can't be loaded here is an error before anything is measured
    dataset, notes = _dataset(bundle, images, manifest.labels)
    predictions = None
    if dataset.held_out:
        predictions = measure_accuracy(context, engine, dataset.held_out, manifest.contract)
        if predictions.unreadable:
            dataset = _readable(dataset, predictions.unreadable)
            predictions = measure_accuracy(context, engine, dataset.held_out, manifest.contract)
    image = np.load(bundle / GOLDEN_INPUT, allow_pickle=False)[0]
    [speed] = measure_speed(context, [engine], image, again=again)
    if isinstance(speed, str):
        raise EdgetlError(speed)
    scene = Scene(dataset, manifest.contract, None, Budgets(max_latency=max_latency))
    section = engine_section(
        scene, Measured(engine, predictions, speed), str(bundle), recipe=None, refit=None
    )
    results = document(
        scene, context.environment, train=None, export=None, fp32={"accuracy": None}, engines=[section]
    )
    reason = engine.standing.reason
    return {**results, "notes": [*([reason] if reason else []), *notes]}


def _engine(bundle: Path, manifest: Manifest, note: str | None) -> Engine:
    digest = digest_of(
        {name: facts["sha256"] for name, facts in manifest.files.items() if name.startswith("engine/")}
    )
    here = Standing("measured", True, note)
    return Engine(manifest.target, manifest.engine, bundle, digest, bundle / PORTABLE, here)


def _not_its_device(context: Context, name: str) -> str | None:
    """What to say where this machine is not of the kind that the bundle was made for, as far as is known."""
    try:
        from edgetl.profiles import target

        found = standing(target(name), context.environment)
    except (ImportError, InputError):  # no pydantic on a device; a profile that only the bundle's maker has
        return None
    return f"{found.reason}; these numbers are this machine's, not {name}'s" if found.reason else None


def _dataset(bundle: Path, images: Path | None, labels: tuple[str, ...]) -> tuple[Dataset, list[str]]:
    """The folder's images with all those taken out that the bundle was trained on."""
    if images is None:
        return Dataset(Path(), labels, (), (), (), (), ()), [
            "no images were given, so accuracy was not measured"
        ]
    dataset = load_dataset(images)
    if dataset.classes != labels:
        raise InputError(f"{images} has classes {_few(dataset.classes)}, the bundle has {_few(labels)}")
    known = frozenset((bundle / TRAINED_ON).read_text().split())
    everything = (*dataset.train, *dataset.val, *dataset.test)
    unseen = tuple(sample for sample in everything if sample.digest not in known)
    if not unseen:
        raise InputError(f"the bundle was trained on every image in {images}; give it images it has not seen")
    left_out = len(everything) - len(unseen)
    notes = [f"{left_out} images were left out: the bundle was trained on them"] if left_out else []
    return Dataset(dataset.root, labels, (), (), unseen, dataset.skipped, dataset.notes), notes


def _readable(dataset: Dataset, unreadable: Mapping[str, str]) -> Dataset:
    bad = [sample for sample in dataset.test if sample.digest in unreadable]
    skipped = tuple(
        Skipped(sample.path.relative_to(dataset.root).as_posix(), unreadable[sample.digest]) for sample in bad
    )
    kept = tuple(sample for sample in dataset.test if sample.digest not in unreadable)
    return replace(dataset, test=kept, skipped=(*dataset.skipped, *skipped))


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" … ({len(names)})" if len(names) > 5 else "")
