"""The manifest of a bundle: what is in the folder, how it was made, how to run it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgetl.backends.base import EngineSpec
from edgetl.contract import Contract
from edgetl.errors import BundleError, InputError
from edgetl.files import digest_of

NAME = "manifest.json"
SCHEMA = "edgetl.bundle/1"
MAX_MANIFEST_BYTES = 4 << 20


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
        return json.dumps(sealed, indent=1, sort_keys=True) + "\n"


def read_manifest(bundle: Path) -> Manifest:
    """Read and check a bundle's manifest; the files it lists are not opened.

    Raises:
        BundleError: if it is missing, too large, malformed, altered, or names a path outside the bundle.
    """
    path = bundle / NAME
    try:
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{bundle} is not a bundle: it has no {NAME}")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is too large to be a manifest")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not a manifest: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BundleError(f"{path} is not a manifest of schema {SCHEMA}")
    if document.pop("digest", None) != digest_of(document):
        raise BundleError(f"{path} was altered since the bundle was made")
    try:
        manifest = _parse(document)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, InputError) as error:
        raise BundleError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if document.get("contract_fingerprint") != manifest.contract.fingerprint:
        raise BundleError(f"{path}: the contract does not match its fingerprint")
    for spec in (manifest.engine, manifest.simulator):
        if spec is not None and spec.file not in manifest.files:
            raise BundleError(f"{path}: the engine {spec.file!r} is not among the listed files")
    return manifest


def _parse(document: Mapping[str, Any]) -> Manifest:
    simulator = document.get("simulator")
    files = {
        _safe(name): {"sha256": str(f["sha256"]), "bytes": int(f["bytes"])}
        for name, f in document["files"].items()
    }
    return Manifest(
        target=str(document["target"]),
        engine=_spec(document["engine"]),
        simulator=None if simulator is None else _spec(simulator),
        contract=Contract.from_dict(document["contract"]),
        labels=tuple(str(label) for label in document["labels"]),
        precision=dict(document["precision"]),
        device=str(document["device"]),
        versions=dict(document["versions"]),
        provenance=dict(document["provenance"]),
        files=files,
        created=str(document["created"]),
    )


def _spec_dict(spec: EngineSpec) -> dict[str, Any]:
    return {**asdict(spec), "options": dict(spec.options)}


def _spec(data: Mapping[str, Any]) -> EngineSpec:
    return EngineSpec(
        backend=str(data["backend"]),
        file=_safe(data["file"]),
        precision=str(data["precision"]),
        float_precision=str(data["float_precision"]),
        device=str(data["device"]),
        options=dict(data["options"]),
        threads=int(data["threads"]),
    )


def _safe(name: Any) -> str:
    """A relative POSIX path that stays inside its folder."""
    path = PurePosixPath(str(name))
    odd = "\\" in str(name) or "\0" in str(name) or ":" in str(name)
    if path.is_absolute() or odd or not path.parts or ".." in path.parts or str(path) != name:
        raise BundleError(f"unsafe path {name!r} in a manifest")
    return str(name)
