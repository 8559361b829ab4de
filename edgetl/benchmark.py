"""The other story: from a bundle to what it does on this machine, or on devices that are reached over SSH."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.write import PORTABLE, TRAINED_ON
from edgetl.context import Context
from edgetl.data import Dataset, Skipped, load_dataset
from edgetl.elsewhere import Finish, section_of, section_there, visit
from edgetl.errors import EdgetlError, InputError
from edgetl.findings import Findings, Task, Wanted, find
from edgetl.peaks import with_roofline
from edgetl.remote.devices import device
from edgetl.results import Budgets, Scene, document, failed_section

if TYPE_CHECKING:
    from edgetl.profiles import Target


@dataclass(frozen=True)
class Bench:
    """What to measure, on what.

    Attributes:
        images: labelled images; None for no accuracy.
        on: names or addresses of devices; none for this machine.
        against: another bundle, whose engine takes turns with this one's.
    """

    bundle: Path
    images: Path | None = None
    on: tuple[str, ...] = ()
    against: Path | None = None
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
    dataset, notes = _dataset(bench.bundle, bench.images, manifest.labels)
    task = Task(bench.bundle, dataset.held_out, bench.wanted, target, bench.against)
    model = bench.bundle / PORTABLE
    finish = partial(with_roofline, context, spec=manifest.engine, target=target, model=model)
    if not bench.on:
        findings = find(context, task)
        scene = Scene(dataset, manifest.contract, None, bench.budgets)
        sections = [finish(section_of(scene, bench.bundle, findings, recipe=None, refit=None))]
        unreadable = _unreadable(findings)
    else:
        sections, unreadable = _on_devices(context, bench, task, manifest, dataset, finish)
    for section in sections:
        if bench.against and "against" in section:
            section["against"]["bundle"] = str(bench.against)  # a device has it under another name
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
    context: Context, bench: Bench, task: Task, manifest: Manifest, dataset: Dataset, finish: Finish
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """An entry of the results for each device, and the images that one of them could not read."""
    devices = [device(name) for name in dict.fromkeys(bench.on)]
    visits = visit(context, task, devices)
    errors = [each.findings for each in visits if isinstance(each.findings, EdgetlError)]
    if len(errors) == len(visits):
        raise errors[0]
    spec = manifest.engine
    failed = failed_section(manifest.target, spec.backend, spec.precision, "")
    scene = Scene(dataset, manifest.contract, None, bench.budgets)
    sections = [section_there(scene, each, failed, finish, recipe=None, refit=None) for each in visits]
    found = [each.findings for each in visits if isinstance(each.findings, Findings)]
    return sections, {digest: reason for each in found for digest, reason in _unreadable(each).items()}


def _unreadable(findings: Findings) -> dict[str, str]:
    return findings.predictions.unreadable if findings.predictions else {}


def _dataset(bundle: Path, images: Path | None, labels: tuple[str, ...]) -> tuple[Dataset, list[str]]:
    """The folder's images, those of ``test/`` if it has one, without any that the bundle was trained on."""
    if images is None:
        return Dataset(Path(), labels, (), (), (), (), ()), [
            "no images were given, so accuracy was not measured"
        ]
    dataset = load_dataset(images)
    if dataset.classes != labels:
        raise InputError(f"{images} has classes {_few(dataset.classes)}, the bundle has {_few(labels)}")
    known = frozenset((bundle / TRAINED_ON).read_text().split())
    asked = dataset.test or (*dataset.train, *dataset.val)
    unseen = tuple(sample for sample in asked if sample.digest not in known)
    if not unseen:
        raise InputError(f"the bundle was trained on every image in {images}; give it images it has not seen")
    left_out = len(asked) - len(unseen)
    notes = [f"{left_out} images were left out: the bundle was trained on them"] if left_out else []
    if dataset.test:
        notes.append("accuracy was measured on the images in test/ only: they were set aside for that")
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
