"""From a bundle's portable model to an engine built and measured on this device. Needs no torch, no onnx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.bundle.check import check_files
from edgetl.bundle.golden import read_golden
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.runtime import runtime_errors
from edgetl.bundle.write import PORTABLE, TRAINED_ON, Content, write_bundle
from edgetl.context import Context
from edgetl.data import Dataset
from edgetl.device.lock import measuring_alone
from edgetl.engines import Engine, Standing
from edgetl.errors import BackendError, BundleError, EdgetlError
from edgetl.measurement.stage import Speed, measure_speed, untimed
from edgetl.results import Budgets, Measured, Scene, engine_section

TOLERANCE = 0.5
"""Largest golden difference from the simulated logits, relative to their spread. INT8 rounding makes a whole
step of a sum's last bit: the order of sums alone moves EfficientNet-Lite0 by 0.1, a wrong model by over 1."""


def rebuild_bundle(context: Context, bundle: Path, out: Path) -> dict[str, Any]:
    """Build the engine of a bundle on this device, compare its answers with the recorded ones, measure it.

    Nothing else is measured on this machine meanwhile; on an emulated one nothing is timed.

    Args:
        out: where the bundle with the new engine goes; may be ``bundle`` itself.

    Raises:
        BundleError: if the bundle was altered, or the new engine answers differently.
        BackendError: if the engine can't be built here.
    """
    with measuring_alone(context.observer.note):
        return _rebuild(context, bundle, check_files(bundle), out)


def _rebuild(context: Context, bundle: Path, manifest: Manifest, out: Path) -> dict[str, Any]:
    with context.observer.stage(f"build {manifest.target} on this device"):
        engine = _build(context, bundle, manifest)
        images, expected = read_golden(bundle, manifest)
        with runtime_errors("run", engine.folder / engine.spec.file):
            session = engine.open()
            outputs = np.concatenate([session.run(image[None]) for image in images])
    difference = _require_same(bundle, outputs, expected)
    speed = _speed(context, engine, images[0])
    section = _section(engine, manifest, speed, out)
    content = Content(
        target=manifest.target,
        spec=engine.spec,
        engine=engine.folder,
        portable=bundle / PORTABLE,
        contract=manifest.contract,
        labels=manifest.labels,
        precision=session.precision().to_dict(),
        device=context.machine,
        versions={name: version for name, version in context.environment["versions"].items() if version},
        provenance={**manifest.provenance, "built_from": dict(manifest.files[PORTABLE])},
        golden_input=images,
        golden_output=outputs,
        measurements={key: value for key, value in section.items() if key != "latency_samples_ms"},
        trained_on=(bundle / TRAINED_ON).read_text().split(),
    )
    write_bundle(content, out)
    return {**section, "golden_difference": difference, "environment": dict(context.environment)}


def _build(context: Context, bundle: Path, manifest: Manifest) -> Engine:
    backend = get_backend(manifest.engine.backend)
    if not (availability := backend.available()).ok:
        raise BackendError(
            f"{manifest.target} is built on a machine of its kind; on this one {availability.reason}"
        )
    former = bundle / manifest.engine.file
    parts = {
        "portable": manifest.files[PORTABLE]["sha256"],
        "former": manifest.files[manifest.engine.file]["sha256"],
        "versions": context.runtime_versions(backend.name),
        "gpus": context.environment.get("gpus"),
        "machine": context.machine,
    }

    def make(folder: Path) -> Mapping[str, Any]:
        return {"file": backend.rebuild(bundle / PORTABLE, former, manifest.engine, folder)}

    entry = context.store.get("engine", parts, make)
    spec: EngineSpec = replace(manifest.engine, file=PurePosixPath(entry.facts["file"]).name)
    here = Standing("measured", True)
    if emulated := context.environment["emulated"]:
        here = Standing("simulated", False, f"this machine is emulated by {emulated}, so nothing was timed")
    return Engine(manifest.target, spec, entry.path, entry.digest, bundle / PORTABLE, here)


def _speed(context: Context, engine: Engine, image: np.ndarray) -> Speed:
    if not engine.standing.latency:
        return untimed(engine)
    [speed] = measure_speed(context, [engine], image, again=True)
    if isinstance(speed, str):
        raise EdgetlError(speed)
    return speed


def _require_same(bundle: Path, outputs: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """How far the new engine is from what was recorded when the bundle was made."""
    if outputs.shape != expected.shape:
        raise BundleError(f"{bundle}: the new engine has {outputs.shape[1]} outputs, not {expected.shape[1]}")
    largest = float(np.abs(outputs - expected).max())
    allowed = TOLERANCE * float(expected.std(dtype=np.float64))
    if not largest <= allowed:  # NaN is not either
        raise BundleError(
            f"{bundle}: the engine built here differs from the golden output by {largest:.3g} "
            f"(allowed {allowed:.3g}); it does not compute what was checked when the bundle was made"
        )
    same = int((outputs.argmax(1) == expected.argmax(1)).sum())
    return {"n": len(outputs), "max_abs": largest, "allowed": allowed, "same_top1": same}


def _section(engine: Engine, manifest: Manifest, speed: Speed, out: Path) -> dict[str, Any]:
    nothing = Dataset(Path(), manifest.labels, (), (), (), (), ())
    scene = Scene(nothing, manifest.contract, None, Budgets())
    return engine_section(scene, Measured(engine, None, speed), str(out), recipe=None, refit=None)
