"""From an ONNX graph to an engine, and whether this machine can stand for its target."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec, Session
from edgetl.context import Context
from edgetl.errors import BackendError
from edgetl.files import sha256_file
from edgetl.quantity import Kind

if TYPE_CHECKING:
    from edgetl.profiles import Target

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_VNNI = {"avx_vnni", "avx512_vnni"}
REFERENCE = "fp32-"
"""What the names of float reference engines begin with."""


@dataclass(frozen=True)
class Standing:
    """What results of this machine are worth for a target.

    Attributes:
        kind: of the accuracy: ``measured`` on a machine of the target's kind, else ``simulated``.
        latency: whether a latency taken here is one of the target's.
        reason: why not, in one sentence.
    """

    kind: Kind
    latency: bool
    reason: str | None = None


@dataclass(frozen=True)
class Engine:
    """A built engine.

    Attributes:
        name: the target's name, or ``fp32-<backend>`` for a reference.
        folder: holds the engine's files; ``spec.file`` is relative to it.
        digest: over all its files.
        portable: the ONNX it was built from.
        standing: what this machine's results say about the target.
    """

    name: str
    spec: EngineSpec
    folder: Path
    digest: str
    portable: Path
    standing: Standing

    def open(self, *, throughput: bool = False) -> Session:
        """Load the engine."""
        backend = get_backend(self.spec.backend)
        return backend.load(self.folder / self.spec.file, self.spec, throughput=throughput)

    @property
    def size_bytes(self) -> int:
        """Bytes of the engine's files."""
        files = (self.folder / self.spec.file).parent.iterdir()
        return sum(path.stat().st_size for path in files if path.is_file() and path.name != "entry.json")


def build_engine(context: Context, model: Path, target: Target) -> Engine:
    """Build the engine of an ONNX for a target.

    Raises:
        BackendError: if the backend can't build it, or is not installed.
    """
    backend = get_backend(target.backend)
    availability = backend.available()
    if not availability.ok:
        raise BackendError(f"{target.name}: {availability.reason}")
    parts = {
        "model": sha256_file(model),
        "backend": target.backend,
        "versions": context.runtime_versions(target.backend),
        "batch": target.batch,
        "device": target.device,
    }

    def make(folder: Path) -> Mapping[str, Any]:
        return {"file": backend.build(model, target, folder)}

    entry = context.store.get("engine", parts, make)
    spec = engine_spec(target, entry.facts["file"])
    return Engine(target.name, spec, entry.path, entry.digest, model, standing(target, context.environment))


def float_twin(target: Target) -> Target:
    """The target with its float engine instead, called ``fp32-<backend>``."""
    update = {"name": f"{REFERENCE}{target.backend}", "precision": "f32", "float_precision": "f32"}
    return target.model_copy(update=update)


def engine_spec(target: Target, file: str) -> EngineSpec:
    """How an engine of a target is loaded."""
    return EngineSpec(
        backend=target.backend,
        file=file,
        precision=target.precision,
        float_precision=target.float_precision,
        device=target.device,
        options=target.options,
    )


def standing(target: Target, environment: Mapping[str, Any]) -> Standing:
    """Whether this machine is of the target's kind."""
    machine = platform.machine().lower()
    machine = _MACHINES.get(machine, machine)
    if machine != target.machine:
        return Standing("simulated", False, f"this machine is {machine}, the target is {target.machine}")
    features = instruction_sets(environment)
    if missing := [name for name in target.requires if name not in features]:
        return Standing("simulated", False, f"this machine has no {', '.join(missing)}")
    if extra := [name for name in target.lacks if name in features]:
        return Standing("simulated", False, f"this machine has {', '.join(extra)}, which the target lacks")
    return Standing("measured", True)


def instruction_sets(environment: Mapping[str, Any]) -> frozenset[str]:
    """Instruction sets of the machine; ``vnni`` stands for either encoding of it."""
    found = set(environment["cpu"]["isa"])
    return frozenset(found | ({"vnni"} if found & _VNNI else set()))


def best_target(environment: Mapping[str, Any]) -> str:
    """Name of the target profile that describes this machine's CPU."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm64-cpu"
    return "x86-vnni" if "vnni" in instruction_sets(environment) else "x86-avx2"
