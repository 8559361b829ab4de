"""The manifest of a bundle: what is in the folder, how it was made, how to run it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgetl.backends.base import EngineSpec
from edgetl.bundle.limits import MAX_THREADS, require_options, require_plain, safe_path, shortened
from edgetl.contract import Contract
from edgetl.errors import BundleError, InputError
from edgetl.files import digest_of

NAME = "manifest.json"
SCHEMA = "edgetl.bundle/1"
MAX_MANIFEST_BYTES = 4 << 20
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Manifest:
    """Everything a device needs to know about a bundle.

    Attributes:
        target: name of the target profile the engine was built for.
        engine: how to load it.
        contract: the preprocessing contract.
        labels: class names in the order of the logits.
        precision: as read back from the runtime after loading.
        device: what the engine was built and measured on (see ``device.environment.fingerprint``).
        versions: of the packages that made it.
        provenance: digests and options of everything it was made from.
        simulator: what gave the golden output in the engine's stead; see ``bundle.write.Content``.
        files: SHA-256 and size by POSIX path, of every file but the manifest.
        created: UTC, ISO 8601.
    """

    target: str
    engine: EngineSpec
    contract: Contract
    labels: tuple[str, ...]
    precision: Mapping[str, Any]
    device: str
    versions: Mapping[str, str]
    provenance: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    created: str
    simulator: EngineSpec | None = None

    def to_json(self) -> str:
        """The manifest as it is written, with its digest; two manifests that differ in nothing are the same
        bytes.

        Raises:
            ValueError: if it holds a number that JSON has not.
        """
        document = {
            "schema": SCHEMA,
            "target": self.target,
            "engine": _spec_dict(self.engine),
            "simulator": _spec_dict(self.simulator) if self.simulator else None,
            "contract": self.contract.to_dict(),
            "contract_fingerprint": self.contract.fingerprint,
            "labels": list(self.labels),
            "precision": dict(self.precision),
            "device": self.device,
            "versions": dict(self.versions),
            "provenance": dict(self.provenance),
            "files": {name: dict(facts) for name, facts in self.files.items()},
            "created": self.created,
        }
        sealed = {**document, "digest": digest_of(document)}
        return json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_manifest(bundle: Path) -> Manifest:
    """Read and check a bundle's manifest; the files it lists are not opened.

    Raises:
        BundleError: if it is missing, too large, malformed, altered, or holds what no bundle may: a path
            outside the bundle, an option that names a library.
    """
    path = bundle / NAME
    try:
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{bundle} is not a bundle: it has no {NAME}")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is too large to be a manifest")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error
    try:
        return parse_manifest(data)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def parse_manifest(data: bytes) -> Manifest:
    """A manifest from the bytes of its file, which must be those that :meth:`Manifest.to_json` writes.

    Raises:
        BundleError: if it is malformed, altered, or holds what no bundle may.
    """
    try:
        document = json.loads(data.decode())
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise BundleError(f"it is not a manifest of schema {SCHEMA}")
        require_plain(document)
        if document.pop("digest", None) != digest_of(document):
            raise BundleError("it was altered since the bundle was made")
        manifest = _parse(document)
        exact = manifest.to_json().encode() == data
    except (ValueError, RecursionError) as error:
        raise BundleError(f"it is not a manifest: {_told(error)}") from error
    except (KeyError, TypeError, OverflowError, AttributeError) as error:
        raise BundleError(f"it is damaged: {type(error).__name__}: {_told(error)}") from error
    except InputError as error:
        raise BundleError(_told(error)) from error
    if document.get("contract_fingerprint") != manifest.contract.fingerprint:
        raise BundleError("the contract does not match its fingerprint")
    if not exact:
        raise BundleError("it is not as edgetl writes it: altered, or made by another version")
    return manifest


def _told(error: Exception) -> str:
    """One line of bounded length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def _parse(document: Mapping[str, Any]) -> Manifest:
    simulator = document["simulator"]
    manifest = Manifest(
        target=str(document["target"]),
        engine=_spec(document["engine"]),
        simulator=None if simulator is None else _spec(simulator),
        contract=Contract.from_dict(document["contract"]),
        labels=_labels(document["labels"]),
        precision=dict(document["precision"]),
        device=str(document["device"]),
        versions={str(name): str(version) for name, version in document["versions"].items()},
        provenance=dict(document["provenance"]),
        files={
            safe_path(name): {"sha256": str(facts["sha256"]), "bytes": int(facts["bytes"])}
            for name, facts in document["files"].items()
        },
        created=str(document["created"]),
    )
    if not _TARGET.fullmatch(manifest.target):
        raise BundleError(f"{shortened(manifest.target)} is no name of a target")
    for spec in (manifest.engine, manifest.simulator):
        if spec is not None and spec.file not in manifest.files:
            raise BundleError(f"the engine {spec.file!r} is not among the listed files")
    return manifest


def _labels(names: Any) -> tuple[str, ...]:
    labels = tuple(str(name) for name in names)
    if not labels or len(set(labels)) != len(labels) or not all(labels):
        raise BundleError("its labels are not the names of classes: none, an empty one, or the same twice")
    return labels


def _spec_dict(spec: EngineSpec) -> dict[str, Any]:
    return {**asdict(spec), "options": dict(spec.options)}


def _spec(data: Mapping[str, Any]) -> EngineSpec:
    spec = EngineSpec(
        backend=str(data["backend"]),
        file=safe_path(data["file"]),
        precision=str(data["precision"]),
        float_precision=str(data["float_precision"]),
        device=str(data["device"]),
        options=dict(data["options"]),
        threads=int(data["threads"]),
    )
    if not 0 <= spec.threads <= MAX_THREADS:
        raise BundleError(f"{shortened(spec.threads)} threads are asked for; 0 to {MAX_THREADS} are allowed")
    require_options(spec.backend, spec.options)
    return spec
