"""The other story: from a bundle to what it does on this machine, or on devices that are reached over SSH."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.write import MEASUREMENTS, TRAINED_ON
from edgetl.context import Context
from edgetl.data import Dataset, Skipped, load_dataset
from edgetl.engines import Standing
from edgetl.errors import BackendError, EdgetlError, InputError, MissingDependencyError
from edgetl.findings import Findings, Wanted, bundled_engine, find
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.stage import measure_accuracy
from edgetl.remote.bundles import find_there
from edgetl.remote.devices import Device, device
from edgetl.results import (
    Budgets,
    Measured,
    Scene,
    document,
    engine_section,
    failed_section,
    read_document,
    transfer_section,
)

if TYPE_CHECKING:
    from edgetl.profiles import Target


@dataclass(frozen=True)
class Bench:
    """What to measure, on what.

    Attributes:
        images: labelled images; None for no accuracy.
        on: names or addresses of devices; none for this machine.
    """

    bundle: Path
    images: Path | None = None
    on: tuple[str, ...] = ()
    budgets: Budgets = field(default_factory=Budgets)
    wanted: Wanted = field(default_factory=Wanted)


def bench_bundle(context: Context, bench: Bench) -> dict[str, Any]:
    """Measure a bundle; see :func:`edgetl.api.bench`.

    With a labelled folder, accuracy is taken on those of its images that the bundle was not trained on.

    Raises:
        BundleError: if the bundle was altered.
        InputError: if the folder's classes are not the bundle's, or a device is not known.
        EdgetlError: if the engine can't be loaded or run; of several devices, on none of them.
    """
    manifest = check_files(bench.bundle)
    target = _target(manifest.target)
    devices = [device(name) for name in dict.fromkeys(bench.on)]
    dataset, notes = _dataset(bench.bundle, bench.images, manifest.labels)
    if not devices:
        findings = find(context, bench.bundle, dataset.held_out, bench.wanted, target)
        sections = [_section(bench, manifest, dataset, findings)]
        unreadable = _unreadable(findings)
        notes = [*([findings.standing.reason] if findings.standing.reason else []), *notes]
    else:
        sections, unreadable = _on_devices(context, bench, manifest, dataset, devices, target)
    scene = Scene(_readable(dataset, unreadable), manifest.contract, None, bench.budgets)
    results = document(
        scene, context.environment, train=None, export=None, fp32={"accuracy": None}, engines=sections
    )
    return {**results, "notes": notes}


def _target(name: str) -> Target | None:
    """The profile a bundle was made for; None where there is none, or no pydantic to read it with."""
    try:
        from edgetl.profiles import target

        return target(name)
    except (ImportError, InputError):
        return None


def _on_devices(
    context: Context,
    bench: Bench,
    manifest: Manifest,
    dataset: Dataset,
    devices: Sequence[Device],
    target: Target | None,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """An entry of the results for each device, and the images that one of them could not read."""
    here = _here(context, bench.bundle, manifest, dataset, target)
    ask = partial(_ask, context, bench, dataset.held_out, target)
    with ThreadPoolExecutor(len(devices)) as pool:
        answers = list(pool.map(ask, devices))
    errors = [answer for answer in answers if isinstance(answer, EdgetlError)]
    if len(errors) == len(answers):
        raise errors[0]
    sections = [
        failed_section(manifest.target, manifest.engine.backend, manifest.engine.precision, str(answer))
        | {"device": {"name": each.name}}
        if isinstance(answer, EdgetlError)
        else _section(bench, manifest, dataset, answer)
        | {"device": _device_section(bench, each, dataset, answer, here)}
        for each, answer in zip(devices, answers, strict=True)
    ]
    found = [answer for answer in answers if isinstance(answer, Findings)]
    return sections, {digest: reason for each in found for digest, reason in _unreadable(each).items()}


def _ask(
    context: Context, bench: Bench, samples: Sequence[Any], target: Target | None, there: Device
) -> Findings | EdgetlError:
    try:
        return find_there(there, context.observer, bench.bundle, samples, bench.wanted, target)
    except EdgetlError as error:
        return error


@dataclass(frozen=True)
class _Here:
    """This machine's predictions, to compare a device's with; or why there are none."""

    predictions: Predictions | None
    by: str


def _here(
    context: Context, bundle: Path, manifest: Manifest, dataset: Dataset, target: Target | None
) -> _Here:
    if not dataset.held_out:
        return _Here(None, "no images were given")
    engine = bundled_engine(bundle, manifest, Standing("measured", True))
    by = "the same engine"
    try:
        try:
            engine.open()
        except (BackendError, MissingDependencyError) as error:
            engine = replace(engine, standing=Standing("simulated", False, str(error), loads=False))
            by = f"its simulator ({engine.answering().spec.backend})"
        return _Here(measure_accuracy(context, engine, dataset.held_out, manifest.contract), by)
    except EdgetlError as error:
        return _Here(None, str(error))


def _section(bench: Bench, manifest: Manifest, dataset: Dataset, findings: Findings) -> dict[str, Any]:
    engine = bundled_engine(bench.bundle, manifest, findings.standing)
    kept, predictions = _matched(dataset, findings.predictions)
    scene = Scene(kept, manifest.contract, None, bench.budgets)
    measured = Measured(engine, predictions, findings.speed)
    return engine_section(scene, measured, str(bench.bundle), recipe=None, refit=None, **findings.details)


def _device_section(
    bench: Bench, there: Device, dataset: Dataset, findings: Findings, here: _Here
) -> dict[str, Any]:
    quantization = read_document(bench.bundle / MEASUREMENTS).get("drop_points")
    return {
        "name": there.name,
        "environment": dict(findings.environment),
        "machine": findings.machine,
        "host": transfer_section(
            dataset.held_out, here.predictions, findings.predictions, findings.standing.kind
        )
        | {"by": here.by},
        "quantization_drop_points": quantization,
    }


def _unreadable(findings: Findings) -> dict[str, str]:
    return findings.predictions.unreadable if findings.predictions else {}


def _matched(dataset: Dataset, found: Predictions | None) -> tuple[Dataset, Predictions | None]:
    """Without the images that could not be read there, the predictions' rows counted anew."""
    if found is None or not found.unreadable:
        return dataset, found
    return _readable(dataset, found.unreadable), replace(found, rows=tuple(range(len(found.rows))))


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
