"""A bundle on devices that are reached over SSH, and what is lost on the way from here to there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest, read_manifest
from edgetl.bundle.write import MEASUREMENTS
from edgetl.context import Context
from edgetl.data import Sample
from edgetl.engines import Standing, mismatch
from edgetl.errors import BackendError, EdgetlError, InputError, MissingDependencyError
from edgetl.findings import Findings, Task, bundled_engine
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.stage import measure_accuracy
from edgetl.quantity import Kind
from edgetl.remote.answers import DeviceError, reading
from edgetl.remote.bundles import facts_of, find_there, rebuild_there
from edgetl.remote.devices import Device
from edgetl.remote.session import cancel_all
from edgetl.results import Measured, Scene, engine_section, read_document, transfer_section

if TYPE_CHECKING:
    from edgetl.profiles import Target

_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_LOOK_SECONDS = 0.2

Finish = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Adds to an entry of the results what follows from it."""


@dataclass(frozen=True)
class Visit:
    """A bundle on one device: what was found, or the error of a device that failed.

    Attributes:
        bundle: what was measured: the one asked for or, for a plan, the one that the device has built.
        facts: JSON-ready, for ``engines[].device``.
    """

    device: Device
    bundle: Path
    findings: Findings | EdgetlError
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Here:
    """This machine's predictions, to compare a device's with; or why there are none."""

    predictions: Predictions | None
    by: str
    kind: Kind = "measured"


def fitting(
    context: Context, targets: Sequence[Target], devices: Sequence[Device]
) -> dict[str, list[Device]]:
    """For each target's name the devices of its kind; a note says what finds none.

    Raises:
        DeviceError: if a device can't be reached.
        InputError: if no device is of any target's kind.
    """
    found: dict[str, list[Device]] = {target.name: [] for target in targets}
    reasons = []
    for each in devices:
        environment = facts_of(each, context.observer)["environment"]
        for target in targets:
            with reading(each.name):
                reason = mismatch(target, environment)
            if reason:
                why = reason.replace("this machine", "it")
                reasons.append(f"{target.name} is not measured on {each.name}: {why}")
            else:
                found[target.name].append(each)
    if not any(found.values()):
        raise InputError("; ".join(reasons))
    for reason in reasons:
        context.observer.note(reason)
    return found


def visit(context: Context, task: Task, devices: Sequence[Device]) -> list[Visit]:
    """Measure a bundle on all devices at once; each of them is alone with it, and may fail alone.

    Raises:
        BundleError: if the bundle was altered.
    """
    here = _here(context, task, check_files(task.bundle))
    with ThreadPoolExecutor(len(devices)) as pool:
        tasks = [pool.submit(_find, context, task, each) for each in devices]
        try:
            wait(tasks)
        except KeyboardInterrupt:  # or the threads would wait for their devices to the end
            while wait(tasks, _LOOK_SECONDS).not_done:
                cancel_all()
            raise
    return [
        _visited(each, *found.result(), task.samples, here)
        for each, found in zip(devices, tasks, strict=True)
    ]


def section_there(
    scene: Scene, found: Visit, failed: Mapping[str, Any], finish: Finish, **facts: Any
) -> dict[str, Any]:
    """The entry of a visit in the results; where what a device sent makes none, that is its own failure.

    Args:
        scene: with the samples that the visit was given.
        failed: what stands for a device that failed.
    """
    error = found.findings
    if not isinstance(error, EdgetlError):
        try:
            with reading(found.device.name):
                return finish(section_of(scene, found.bundle, error, device=dict(found.facts), **facts))
        except EdgetlError as wrong:
            error = wrong
    return finish({**failed, "error": str(error), "gate": "failed", "device": dict(found.facts)})


def section_of(scene: Scene, bundle: Path, found: Findings, **facts: Any) -> dict[str, Any]:
    """The entry of a bundle in the results, of what one machine found out after checking its files."""
    engine = bundled_engine(bundle, read_manifest(bundle), found.standing)
    measured = Measured(engine, found.predictions, found.speed)
    measured = replace(measured, error=measured.wrong_precision())
    return engine_section(scene, measured, str(bundle), digest=engine.digest, **facts, **found.details)


def _find(context: Context, task: Task, there: Device) -> tuple[Path, Findings | EdgetlError]:
    """The bundle that was measured, and what was found; a plan's engine is built there first."""
    place = task.bundle
    try:
        if read_document(place / MEASUREMENTS).get("state") == "plan":
            place = place.with_name(f"{place.name}-on-{_file_name(there.name)}")
            rebuild_there(there, context.observer, task.bundle, place, install=task.wanted.install)
        return place, find_there(there, context.observer, replace(task, bundle=place))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        lost = DeviceError(f"{there.name} was not measured: here, {error.strerror or error}{where}")
        lost.__cause__ = error
        return task.bundle, lost
    except EdgetlError as error:
        return task.bundle, error


def _file_name(device: str) -> str:
    """A device's name as a part of a file's, another one for each."""
    plain = _ODD.sub("-", device)
    return plain if plain == device else f"{plain}-{hashlib.sha256(device.encode()).hexdigest()[:8]}"


def _visited(
    there: Device, place: Path, findings: Findings | EdgetlError, samples: Sequence[Sample], here: _Here
) -> Visit:
    try:
        with reading(there.name):
            return Visit(there, place, findings, _facts(there, findings, place, samples, here))
    except EdgetlError as error:
        return Visit(there, place, error, {"name": there.name})


def _here(context: Context, task: Task, manifest: Manifest) -> _Here:
    if not task.samples:
        return _Here(None, "no images were given")
    engine = bundled_engine(task.bundle, manifest, Standing("measured", True))
    by = "the same engine"
    try:
        try:
            engine.open()
        except (BackendError, MissingDependencyError) as error:
            engine = replace(engine, standing=Standing("simulated", False, str(error), loads=False))
            by = f"its simulator, {engine.answering().spec.backend}"
        found = measure_accuracy(context, engine, task.samples, manifest.contract)
        return _Here(found, by, engine.standing.kind)
    except EdgetlError as error:
        return _Here(None, str(error))


def _facts(
    there: Device, findings: Findings | EdgetlError, bundle: Path, samples: Sequence[Sample], here: _Here
) -> dict[str, Any]:
    name = {"name": there.name}
    if isinstance(findings, EdgetlError):
        return name
    lost = transfer_section(
        samples, here.predictions, findings.predictions, here.kind, findings.standing.kind
    )
    return {
        **name,
        "environment": dict(findings.environment),
        "machine": findings.machine,
        "host": {**lost, "by": here.by},
        "quantization_drop_points": read_document(bundle / MEASUREMENTS).get("drop_points"),
    }
