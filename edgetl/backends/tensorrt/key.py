"""What an engine is tied to, and whether it may be loaded here: asked before TensorRT touches its bytes."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgetl.backends.tensorrt.header import read_header
from edgetl.errors import BackendError

BUILD = "build.json"
"""Sidecar of an engine: its key, how it was built, what the builder reported."""

REBUILD = "rebuild it here with: edgetl build BUNDLE"


@dataclass(frozen=True)
class EngineKey:
    """An engine runs under the version that built it, on the GPUs it was built for.

    Attributes:
        backend: ``tensorrt`` or ``tensorrt-rtx``.
        version: of TensorRT.
        compute_capabilities: of the GPUs it runs on.
        gpu: name of the GPU it was tuned on; None if it was built without one.
        driver: CUDA version of that machine's driver.
        platform: operating system and processor, as in ``linux-aarch64``.
        sha256: of the engine file.
        bytes: size of the engine file.
    """

    backend: str
    version: str
    compute_capabilities: tuple[str, ...]
    gpu: str | None
    driver: str | None
    platform: str
    sha256: str
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "compute_capabilities": list(self.compute_capabilities)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EngineKey:
        return cls(**{**data, "compute_capabilities": tuple(data["compute_capabilities"])})


def make_key(
    engine: bytes,
    backend: str,
    version: str,
    capabilities: Sequence[str],
    gpu: str | None,
    driver: str | None,
) -> EngineKey:
    """The key of an engine just built here."""
    digest = hashlib.sha256(engine).hexdigest()
    return EngineKey(backend, version, tuple(capabilities), gpu, driver, this_platform(), digest, len(engine))


def this_platform() -> str:
    return f"{platform.system()}-{platform.machine()}".lower()


def read_key(engine: Path) -> EngineKey | None:
    """The key beside an engine file; None for an engine that edgetl did not build.

    Raises:
        BackendError: if it is damaged.
    """
    sidecar = engine.parent / BUILD
    if not sidecar.is_file():
        return None
    try:
        return EngineKey.from_dict(json.loads(sidecar.read_text())["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{sidecar} is damaged: {error}") from error


def require_header(engine: Path, backend: str, version: str) -> None:
    """Refuse a file whose first bytes say that this TensorRT can't load it.

    Raises:
        BackendError: if it is no engine, one of the other TensorRT or of another version, or truncated.
    """
    header = read_header(engine)
    if header is None:
        raise BackendError(f"{engine.name} is no TensorRT engine")
    if header.module != backend:
        names = {"tensorrt": "full TensorRT", "tensorrt-rtx": "TensorRT for RTX"}
        raise BackendError(f"{engine.name} is an engine of {names[header.module]}; {REBUILD}")
    size = engine.stat().st_size
    if header.size not in (None, size):
        raise BackendError(f"{engine.name} is truncated: {size} of {header.size} bytes; {REBUILD}")
    if any(a != b for a, b in zip(header.version.split("."), version.split("."), strict=False)):
        built = header.version
        raise BackendError(f"{engine.name} was built by TensorRT {built}, this is {version}; {REBUILD}")


def require_usable(
    engine: Path, key: EngineKey, version: str, gpus: Sequence[Mapping[str, Any]], device: int
) -> None:
    """Refuse an engine of another version or device before it is loaded.

    Args:
        version: of the TensorRT that would load it.
        gpus: of this machine, see ``device.gpu``.
        device: index of the one it would run on.

    Raises:
        BackendError: naming the difference, with the offer to rebuild.
    """
    size = engine.stat().st_size
    if size != key.bytes:
        raise BackendError(f"{engine.name} is truncated: {size} of {key.bytes} bytes; {REBUILD}")
    if hashlib.sha256(engine.read_bytes()).hexdigest() != key.sha256:
        raise BackendError(f"{engine.name} was altered since it was built; {REBUILD}")
    if key.version != version:
        raise BackendError(f"{engine.name} was built by TensorRT {key.version}, this is {version}; {REBUILD}")
    # engines for RTX are compiled to machine code on the device and carry no platform
    if key.backend == "tensorrt" and key.platform != this_platform():
        raise BackendError(f"{engine.name} was built on {key.platform}, this is {this_platform()}; {REBUILD}")
    if len(gpus) <= device:
        wanted = " or ".join(key.compute_capabilities)
        raise BackendError(
            f"{engine.name} needs a GPU of compute capability {wanted}; there is no NVIDIA GPU or driver here"
        )
    here = gpus[device]
    if here["compute_capability"] not in key.compute_capabilities:
        raise BackendError(
            f"{engine.name} is for compute capability {', '.join(key.compute_capabilities)}; "
            f"{here['name']} has {here['compute_capability']}; {REBUILD}"
        )
    if key.gpu is not None and key.gpu != here["name"]:
        raise BackendError(f"{engine.name} was built on {key.gpu}, this is {here['name']}; {REBUILD}")
