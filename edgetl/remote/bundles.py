"""A bundle's findings on a device, and the engine that is built there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import EngineSpec
from edgetl.bundle.arrays import read_array
from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import NAME, Manifest, read_manifest
from edgetl.bundle.write import GOLDEN_INPUT, PORTABLE, TRAINED_ON
from edgetl.errors import BundleError, InputError
from edgetl.files import atomic_folder, relative_files
from edgetl.findings import Findings, Task
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.probe import Probed, ProbeNetwork
from edgetl.progress import Observer
from edgetl.remote.answers import reading
from edgetl.remote.devices import Device
from edgetl.remote.session import Remote
from edgetl.remote.worker import LOGITS, REBUILT

_HEADER_BYTES = 4096
_MOST_REBUILT = 4 << 30  # bytes of a bundle; an engine may be many times its model
# a GPU's or an NPU's runtime comes with the board's own system
_LEAST = ("numpy>=1.26", "pillow>=10.1")
_RUNTIMES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime",), "litert": ("ai-edge-litert",)}


def facts_of(device: Device, observer: Observer) -> dict[str, Any]:
    """The device's environment, and the engines that run on it; see ``worker``."""
    with Remote(device, observer) as remote:
        found = remote.run({"verb": "facts"})
        parts = {name: found.take(name, dict) for name in ("environment", "backends")}
        return {**parts, "python": remote.hello["python"]}


def find_there(device: Device, observer: Observer, task: Task) -> Findings:
    """``findings.find`` on a device.

    Raises:
        DeviceError: if the device can't be reached, or the engine can't be loaded or run there.
    """
    with Remote(device, observer) as remote, tempfile.TemporaryDirectory(prefix="edgetl-device-") as folder:
        if task.wanted.install:
            remote.install(_packages(read_manifest(task.bundle)))
        request = {
            "verb": "bench",
            "bundle": _send_bundle(remote, task.bundle),
            "against": _send_bundle(remote, task.against) if task.against else None,
            "blobs": f"{remote.hello['folder']}/blobs",
            "samples": [[sample.digest, sample.label] for sample in task.samples],
            "wanted": asdict(task.wanted),
            "target": task.target.model_dump(mode="json") if task.target else None,
        }
        if task.samples:
            with observer.stage(f"{device.name}: send {len(task.samples)} images") as advance:
                remote.send({sample.digest: sample.path for sample in task.samples}, advance)
        out, shape = Path(folder), (len(task.samples), len(read_manifest(task.bundle).labels))
        result = remote.run(request, out, _HEADER_BYTES + 4 * shape[0] * shape[1])
        return _findings(device, result, out, shape)


def probe_there(
    device: Device, observer: Observer, network: ProbeNetwork, spec: EngineSpec
) -> tuple[str, Probed]:
    """The device's fingerprint, and its peaks through an engine; see ``measurement.probe``.

    Raises:
        DeviceError: if the device can't be reached, or the engine can't run there.
    """
    with Remote(device, observer) as remote:
        files = {path.name: path for path in (network.int8, network.floating)}
        request = {
            "verb": "probe",
            "folder": remote.folder(files),
            "network": {**asdict(network), **{"int8": network.int8.name, "floating": network.floating.name}},
            "spec": [spec.backend, spec.device, spec.float_precision],
        }
        result = remote.run(request)
    with reading(device.name):
        return result.take("machine", str), Probed.from_dict(result["probed"])


def rebuild_there(
    device: Device, observer: Observer, bundle: Path, out: Path, *, install: bool = False
) -> dict[str, Any]:
    """``rebuilding.rebuild_bundle`` on a device; the new bundle is fetched and takes the place of ``out``.

    Args:
        install: what the device's Python lacks, first.

    Raises:
        DeviceError: if the device can't be reached or can't build it.
        BundleError: if the bundle was altered, or what came back is another one.
    """
    former = check_files(bundle)
    with Remote(device, observer) as remote, tempfile.TemporaryDirectory(prefix="edgetl-device-") as folder:
        if install:
            remote.install(_packages(former))
        request = {"verb": "rebuild", "bundle": _send_bundle(remote, bundle)}
        section = remote.run(request, Path(folder), _MOST_REBUILT)
        fetched = Path(folder) / REBUILT
        if _lasting(check_files(fetched)) != _lasting(former):
            raise BundleError(f"{device.name} sent another bundle back; {out} is as it was")
        with atomic_folder(out, NAME) as place:
            shutil.copytree(fetched, place, dirs_exist_ok=True)
    return {**section, "bundle": str(out)}


def _lasting(manifest: Manifest) -> tuple[Any, ...]:
    """What a bundle keeps when its engine is built anew."""
    kept = (PORTABLE, TRAINED_ON, GOLDEN_INPUT)
    files = [manifest.files[name]["sha256"] if name in manifest.files else None for name in kept]
    return manifest.target, manifest.labels, manifest.contract, replace(manifest.engine, file=""), files


def _packages(manifest: Manifest) -> list[str]:
    """What a device needs to run a bundle: the engine's runtime in the version that it was made with."""
    runtime = {
        name: version
        for name in _RUNTIMES.get(manifest.engine.backend, ())
        if (version := manifest.versions.get(name))
    }
    if not runtime:
        raise InputError(
            f"--install brings no runtime for {manifest.engine.backend}; install the vendor's on the device"
        )
    return [*_LEAST, *(f"{name}=={version}" for name, version in runtime.items())]


def _send_bundle(remote: Remote, bundle: Path) -> str:
    check_files(bundle)
    with remote.observer.stage(f"{remote.device.name}: send {bundle.name}") as advance:
        return remote.folder({name: bundle / name for name in relative_files(bundle)}, advance)


def _findings(device: Device, result: Mapping[str, Any], out: Path, shape: tuple[int, int]) -> Findings:
    """A job's result, which is believed only as far as it has the right form.

    Args:
        shape: images sent, and the bundle's classes.
    """
    path = out / LOGITS
    with reading(device.name):
        found = Findings.from_dict(result, read_array(path, np.dtype(np.float32)) if path.exists() else None)
        if found.standing.kind not in ("measured", "simulated"):
            raise ValueError(f"numbers that are {found.standing.kind}")
        if found.predictions:
            _require_predictions(found.predictions, *shape)
    return found


def _require_predictions(found: Predictions, images: int, classes: int) -> None:
    rows = found.rows
    if any(not 0 <= row < images for row in rows) or len(set(rows)) != len(rows):
        raise ValueError("rows of images that were not sent")
    if found.logits.shape[1] != classes:
        raise ValueError(f"{found.logits.shape[1]} logits an image, for {classes} classes")
    if not np.isfinite(found.logits).all():
        raise ValueError("logits that are not finite")
