"""What is inside a bundle or an engine file, as far as this machine can tell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgetl.backends import get_backend
from edgetl.backends.tensorrt.header import Header, read_header
from edgetl.backends.tensorrt.key import BUILD
from edgetl.backends.tensorrt.layers import Layer, LayerReport, computes_in, constant_bytes
from edgetl.backends.tensorrt.make import LAYERS
from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.runtime import open_session
from edgetl.errors import BackendError, EdgetlError, InputError

LARGEST = 10
"""Layers that are shown for their constants alone."""

_LONGEST_SIDECAR = 64 << 20

_MODULES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}
_LONG = ("demands", "summary")


def inspect(path: Path, *, all_layers: bool = False) -> dict[str, Any]:
    """Describe a bundle, or a raw engine file; an engine's own sidecars are used where they lie beside it.

    A bundle's engine is loaded if this machine can, and tells its precision, placement and layer times.

    Args:
        all_layers: list every layer, not only those that multiply, move data or store most.

    Returns:
        JSON-ready facts; None where there is no such fact.

    Raises:
        InputError: if there is nothing that edgetl knows.
        BundleError: if a bundle was altered.
        BackendError: if a sidecar is damaged.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        return _inspect(path, all_layers)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise BackendError(
            f"{path}: what lies beside its engine is damaged: {type(error).__name__}: {told}"
        ) from error


def _inspect(path: Path, all_layers: bool) -> dict[str, Any]:
    if path.is_file():
        if (what := _format(path)) is None:
            raise InputError(
                f"{path} is no engine that edgetl knows: a TensorRT engine, a build plan, "
                "an OpenVINO IR (.xml) or an ONNX file"
            )
        return {"bundle": None, **_describe(path, what, _NOT_LOADED, all_layers)}
    manifest = check_files(path)
    file = path / manifest.engine.file
    loaded = _NOT_LOADED if _plan(file) else _load(path, manifest)
    what = _format(file) or f"engine of {manifest.engine.backend}"
    return {"bundle": _manifest(path, manifest), **_describe(file, what, loaded, all_layers)}


@dataclass(frozen=True)
class _Loaded:
    """What a loaded engine tells; ``note`` says why it was not loaded."""

    precision: Mapping[str, Any] | None = None
    placement: Mapping[str, Any] | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None


_NOT_LOADED = _Loaded()


def _load(bundle: Path, manifest: Manifest) -> _Loaded:
    try:
        session = open_session(bundle, manifest)
        listed = (bundle / manifest.engine.file).with_name(LAYERS).is_file()
        times = {layer.name: layer.ms for layer in session.layer_times()} if listed else {}
        return _Loaded(session.precision().to_dict(), session.placement().to_dict(), times)
    except EdgetlError as error:
        return _told(bundle, manifest, f"not loaded here: {error}")


def _told(bundle: Path, manifest: Manifest, note: str) -> _Loaded:
    """What the engine's builder reported, in place of what the loaded engine would tell."""
    try:
        proof = get_backend(manifest.engine.backend).proof(bundle / manifest.engine.file, manifest.engine)
    except EdgetlError:
        proof = None
    precision = proof.precision.to_dict() if proof and proof.precision else None
    placement = proof.placement.to_dict() if proof and proof.placement else None
    return _Loaded(precision, placement, note=f"{note}; as its builder reported it" if precision else note)


def _format(file: Path) -> str | None:
    """What a file is, by its first bytes where these tell; None for anything else."""
    if header := read_header(file):
        return f"engine of {_MODULES[header.module]} {header.version}"
    if _plan(file):
        return "build plan: the engine is built on its device"
    return {".xml": "OpenVINO IR", ".onnx": "ONNX model"}.get(file.suffix.lower())


def _plan(file: Path) -> dict[str, Any] | None:
    """The build plan that a file holds, None if it holds something else."""
    if file.suffix != ".json":
        return None
    data = _read_json(file)
    return data if data.keys() >= {"settings", "trtexec", "checks"} else None


def _describe(file: Path, what: str, loaded: _Loaded, all_layers: bool) -> dict[str, Any]:
    header = read_header(file)
    build = _sidecar(file, BUILD) if header else None
    layers = _sidecar(file, LAYERS) if header else None
    unknown = f"no {LAYERS} lies beside it (edgetl build writes one): its layers are not known"
    notes = [loaded.note, unknown if header and layers is None else None]
    return {
        "file": str(file),
        "what": what,
        "size_bytes": file.stat().st_size,
        "damage": _damage(header, file.stat().st_size),
        "header": asdict(header) if header else None,
        "plan": _brief(_plan(file)),
        "build": _brief(build),
        "precision": loaded.precision,
        "placement": loaded.placement,
        "layers": None if layers is None else _layers(layers, build or {}, all_layers, loaded.milliseconds),
        "notes": [note for note in notes if note],
    }


def _damage(header: Header | None, size: int) -> str | None:
    if header is None or header.size in (None, size):
        return None
    return f"it has {size} bytes and its header says {header.size}: truncated, copy or build it again"


def _brief(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The facts without those that are as long as the model."""
    return None if facts is None else {key: value for key, value in facts.items() if key not in _LONG}


def _sidecar(file: Path, name: str) -> dict[str, Any] | None:
    path = file.parent / name
    return _read_json(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LONGEST_SIDECAR:
        raise BackendError(f"{path} is damaged: it is too large")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BackendError(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise BackendError(f"{path} is damaged: it holds no JSON object")
    return data


def _layers(
    data: Mapping[str, Any], build: Mapping[str, Any], all_layers: bool, milliseconds: Mapping[str, float]
) -> dict[str, Any]:
    """Totals and rows; what is multiplied is counted by ONNX node where the build tells their names."""
    report = LayerReport.from_dict(data)
    demands = build.get("demands", {})
    nodes = demands.get("nodes", {})
    arithmetic, reformats = report.arithmetic(nodes), report.reformats()
    found = report.precisions(nodes).values() if nodes else map(computes_in, arithmetic)
    largest = sorted(report.layers, key=lambda layer: -(constant_bytes(layer) or 0))[:LARGEST]
    shown = report.layers if all_layers else (*arithmetic, *reformats, *largest)
    rows = [
        _row(layer, layer in arithmetic, milliseconds.get(layer.name))
        for layer in report.layers
        if layer in shown
    ]
    return {
        "total": len(report.layers),
        "by_kind": report.by_kind(),
        "counted": "ONNX nodes" if nodes else "layers",
        "arithmetic": dict(Counter(found).most_common()),
        "reformats": len(reformats),
        "findings": report.findings(nodes, demands.get("int8", ())),
        "rows": rows,
    }


def _row(layer: Layer, multiplies: bool, milliseconds: float | None) -> dict[str, Any]:
    passing = dict.fromkeys(tensor.dtype for tensor in (*layer.inputs[:1], *layer.outputs[:1]))
    return {
        "layer": layer.name,
        "kind": layer.kind,
        "multiplies": multiplies,
        "precision": computes_in(layer) if multiplies else "→".join(passing),
        "tactic": layer.tactic,
        "onnx_nodes": list(layer.onnx_nodes),
        "output": list(layer.outputs[0].shape) if layer.outputs else None,
        "constant_bytes": constant_bytes(layer),
        "milliseconds": milliseconds,
    }


def _manifest(bundle: Path, manifest: Manifest) -> dict[str, Any]:
    engine = manifest.engine
    return {
        "path": str(bundle),
        "target": manifest.target,
        "backend": engine.backend,
        "asked": {"precision": engine.precision, "float_precision": engine.float_precision},
        "contract": manifest.contract.fingerprint,
        "classes": len(manifest.labels),
        "precision": dict(manifest.precision),
        "created": manifest.created,
        "device": manifest.device,
        "versions": dict(manifest.versions),
    }
