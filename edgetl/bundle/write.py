"""Writing a bundle: all of it, or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import PORTABLE as PORTABLE_NAME
from edgetl.backends.base import EngineSpec, Float32, UInt8
from edgetl.bundle.manifest import NAME, Manifest, parse_manifest
from edgetl.bundle.sbom import sbom
from edgetl.contract import Contract
from edgetl.files import atomic_folder, relative_files, sha256_file

ENGINE = "engine"
PORTABLE = "portable/model.onnx"
GOLDEN_INPUT = "golden/input.npy"
GOLDEN_OUTPUT = "golden/output.npy"
MEASUREMENTS = "measurements.json"
SBOM = "sbom.json"
TRAINED_ON = "trained_on.txt"


@dataclass(frozen=True)
class Content:
    """What goes into a bundle.

    Attributes:
        engine: folder with the raw engine's files; ``spec.file`` is relative to it.
        portable: QDQ or float ONNX to fall back on or rebuild from.
        golden_input: uint8 ``[n, H, W, 3]``.
        golden_output: float32 ``[n, classes]``, the engine's own.
        simulator: what gave the golden output where the engine could not be loaded, with a file of the
            engine's folder or ``model.onnx`` for the portable model; None if the engine gave it itself, or if
            no runtime here can give it again (bfloat16).
        trained_on: SHA-256 of the training images, so that no bench mistakes them for unseen ones.
    """

    target: str
    spec: EngineSpec
    engine: Path
    portable: Path
    contract: Contract
    labels: tuple[str, ...]
    precision: Mapping[str, Any]
    device: str
    versions: Mapping[str, str]
    provenance: Mapping[str, Any]
    golden_input: UInt8
    golden_output: Float32
    measurements: Mapping[str, Any]
    simulator: EngineSpec | None = None
    trained_on: Sequence[str] = ()


def write_bundle(content: Content, out: Path) -> Path:
    """Write a bundle folder at ``out``, replacing a former one in a single step.

    Raises:
        BundleError: if its manifest would be refused when it is read, as for an option that names a library.
    """
    with atomic_folder(out, NAME) as folder:
        shutil.copytree(content.engine, folder / ENGINE, ignore=shutil.ignore_patterns("entry.json"))
        (folder / "portable").mkdir()
        shutil.copyfile(content.portable, folder / PORTABLE)
        (folder / "golden").mkdir()
        np.save(folder / GOLDEN_INPUT, np.ascontiguousarray(content.golden_input))
        np.save(folder / GOLDEN_OUTPUT, np.ascontiguousarray(content.golden_output))
        (folder / MEASUREMENTS).write_text(json.dumps(content.measurements, indent=1, sort_keys=True) + "\n")
        (folder / TRAINED_ON).write_bytes(
            b"".join(f"{digest}\n".encode() for digest in sorted(content.trained_on))
        )
        (folder / SBOM).write_text(
            json.dumps(sbom(content.target, content.versions), indent=1, sort_keys=True) + "\n"
        )
        sealed = _manifest(content, folder).to_json().encode()
        parse_manifest(sealed)
        (folder / NAME).write_bytes(sealed)
    return out


def _simulator(spec: EngineSpec | None) -> EngineSpec | None:
    if spec is None:
        return None
    return replace(spec, file=PORTABLE if spec.file == PORTABLE_NAME else f"{ENGINE}/{spec.file}")


def _manifest(content: Content, folder: Path) -> Manifest:
    files = {
        name: {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size}
        for name in relative_files(folder)
    }
    return Manifest(
        target=content.target,
        engine=replace(content.spec, file=f"{ENGINE}/{content.spec.file}"),
        contract=content.contract,
        labels=content.labels,
        precision=content.precision,
        device=content.device,
        versions=content.versions,
        provenance=content.provenance,
        simulator=_simulator(content.simulator),
        files=files,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
