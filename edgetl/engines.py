"""From an ONNX graph to an engine, and whether this machine can stand for its target."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl.backends import get_backend
from edgetl.backends.base import PORTABLE, Backend, EngineSpec, Proof, Session
from edgetl.context import Context
from edgetl.errors import BackendError
from edgetl.files import sha256_file
from edgetl.quantity import Kind
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.profiles import Target

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SIMULATION = "simulation.onnx"
_VNNI = {"avx_vnni", "avx512_vnni"}
_ABOUT = {".json", ".cache"}
State = Literal["built", "plan", "uncompiled"]
"""Uncompiled is an engine that the device's own compiler has yet to take."""

REFERENCE = "fp32-"
"""What the names of float reference engines begin with."""


@dataclass(frozen=True)
class Standing:
    """What results of this machine are worth for a target.

    Attributes:
        kind: of the accuracy: ``measured`` on a machine of the target's kind, else ``simulated``.
        latency: whether a latency taken here is one of the target's.
        reason: why not, in one sentence.
        loads: whether its engines can be loaded here at all.
    """

    kind: Kind
    latency: bool
    reason: str | None = None
    loads: bool = True


@dataclass(frozen=True)
class Engine:
    """A built engine.

    Attributes:
        name: the target's name, or ``fp32-<backend>`` for a reference.
        folder: holds the engine's files; ``spec.file`` is relative to it.
        digest: over all its files.
        portable: the ONNX it was built from.
        standing: what this machine's results say about the target.
        planned: there is no engine yet, only a plan of how the device builds it.
    """

    name: str
    spec: EngineSpec
    folder: Path
    digest: str
    portable: Path
    standing: Standing
    planned: bool = False

    def answering(self) -> Engine:
        """What gives this engine's answers on this machine: itself, or the simulator, on a file of the
        engine's own or on its portable model, in the form that it runs fast where that is beside the model.

        Raises:
            BackendError: if it can't be loaded here and its backend has no simulator.
        """
        if self.standing.loads:
            return self
        simulator = get_backend(self.spec.backend).simulator(self.spec)
        if simulator is None:
            raise BackendError(f"{self.name} can't be loaded here: {self.standing.reason}")
        here = replace(self.standing, loads=True)
        if simulator.file != PORTABLE:
            return replace(self, spec=simulator, standing=here)
        simulation = self.portable.with_name(_SIMULATION)
        model = simulation if simulation.exists() else self.portable
        spec = replace(simulator, file=model.name)
        digest = sha256_file(model)
        return replace(self, spec=spec, folder=model.parent, digest=digest, standing=here, planned=False)

    @cached_property
    def proof(self) -> Proof | None:
        """What is known of the engine without loading it."""
        return get_backend(self.spec.backend).proof(self.folder / self.spec.file, self.spec)

    @property
    def state(self) -> State:
        if self.planned:
            return "plan"
        return "built" if self.proof is None or self.proof.compiled else "uncompiled"

    def open(self, *, throughput: bool = False) -> Session:
        """Load the engine."""
        backend = get_backend(self.spec.backend)
        return backend.load(self.folder / self.spec.file, self.spec, throughput=throughput)

    @property
    def size_bytes(self) -> int | None:
        """Bytes of the engine's files, without what the device does not need; None for a plan."""
        if self.planned:
            return None
        beside = get_backend(self.spec.backend).companions
        files = [path for path in (self.folder / self.spec.file).parent.iterdir() if path.is_file()]
        needed = [path for path in files if path.suffix not in _ABOUT and not any(map(path.match, beside))]
        return sum(path.stat().st_size for path in needed)


def build_engine(context: Context, model: Path, target: Target) -> Engine:
    """Build the engine of an ONNX for a target, or plan it where only the target's own device can build it.

    Raises:
        BackendError: if the backend can't build it, or is not installed.
    """
    backend = get_backend(target.backend)
    here = standing(target, context.environment)
    planned = target.made == "on-device" and not here.loads
    if not planned and not (availability := backend.available()).ok:
        raise BackendError(f"{target.name}: {availability.reason}")
    portable = _in_dialect(context, backend, model, target)
    parts = {
        "model": sha256_file(portable),
        "backend": target.backend,
        "versions": context.runtime_versions(*_builders(target, planned)),
        "batch": target.batch,
        "device": target.device,
        "precision": [target.precision, target.float_precision],
        **backend.build_parts(target),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        verb = backend.plan if planned else backend.build
        return {"file": verb(portable, target, folder)}

    entry = context.store.get("plan" if planned else "engine", parts, make)
    spec = engine_spec(target, entry.facts["file"])
    return Engine(target.name, spec, entry.path, entry.digest, portable, here, planned)


def _builders(target: Target, planned: bool) -> tuple[str, ...]:
    """Packages whose versions decide what is made; a plan is checked by TensorRT for RTX's parser."""
    return (target.backend, "tensorrt-rtx") if planned else (target.backend,)


def _in_dialect(context: Context, backend: Backend, model: Path, target: Target) -> Path:
    """The model as the backend wants it, with the simulator's form of it beside it; itself where any ONNX
    will do."""
    if backend.dialect is None:
        return model
    parts = {
        "model": sha256_file(model),
        "dialect": backend.dialect,
        "precision": [target.precision, target.float_precision],
        "onnx": versions("onnx"),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        backend.prepare(model, target, folder / PORTABLE)
        backend.simulation(folder / PORTABLE, folder / _SIMULATION)
        return {}

    return context.store.get("portable", parts, make).file(PORTABLE)


def stand_in(target: Target, file: str) -> EngineSpec:
    """What runs a quantized model for this target while there is no engine."""
    return replace(get_backend(target.backend).stand_in(engine_spec(target, file)), file=file)


def float_twin(target: Target, environment: Mapping[str, Any]) -> Target:
    """The target with its float engine instead, called ``fp32-<backend>``.

    Where the target's engines can't be loaded, the float model runs in the backend's float reference.
    """
    twin: dict[str, Any] = {"precision": "f32", "float_precision": "f32"}
    if not standing(target, environment).loads:
        backend, device = get_backend(target.backend).float_reference
        twin |= {"backend": backend, "device": device, "made": "here"}
        twin |= {"machine": this_machine(), "options": {}, "build": {}}
        twin |= dict.fromkeys(("requires", "lacks", "compute_capabilities", "device_names"), ())
    made = target.model_copy(update=twin)
    return made.model_copy(update={"name": reference_name(engine_spec(made, PORTABLE))})


def reference_name(spec: EngineSpec) -> str:
    """What the float reference of an engine is called; a device besides the backend's own has another."""
    simulator = get_backend(spec.backend).simulator(spec)
    if simulator is None or simulator.backend != spec.backend:
        return f"{REFERENCE}{spec.backend}"
    return f"{REFERENCE}{spec.backend}-{spec.device.lower().removesuffix('executionprovider')}"


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
    if obstacle := get_backend(target.backend).obstacle(target):
        return Standing("simulated", False, obstacle, loads=False)
    if reason := mismatch(target, environment):
        return Standing("simulated", False, reason)
    return Standing("measured", True)


def mismatch(target: Target, environment: Mapping[str, Any]) -> str | None:
    """Why a machine, whose environment it is, is not of the target's kind; None if it is."""
    machine = _architecture(environment["machine"])
    if machine != target.machine:
        return f"this machine is {machine}, the target is {target.machine}"
    features = instruction_sets(environment)
    if missing := [name for name in target.requires if name not in features]:
        return f"this machine has no {', '.join(missing)}"
    if extra := [name for name in target.lacks if name in features]:
        return f"this machine has {', '.join(extra)}, which the target lacks"
    names = device_names(environment)
    if target.device_names and not _called(names, target.device_names):
        return f"this device is {' on '.join(names)}, the target is {' or '.join(target.device_names)}"
    return None


def _called(names: Sequence[str], words: Sequence[str]) -> bool:
    """Whether one of the names holds one of the words in whole: an L40S is no L4."""
    return any(re.search(rf"\b{re.escape(word)}\b", name) for word in words for name in names)


def device_names(environment: Mapping[str, Any]) -> list[str]:
    """What this machine's accelerator and board call themselves."""
    gpus = [gpu["name"] for gpu in environment.get("gpus") or []]
    return [*gpus[:1], *([environment["board"]] if environment.get("board") else [])]


def this_machine() -> str:
    """Processor architecture, by the name target profiles use."""
    return _architecture(platform.machine())


def _architecture(name: str) -> str:
    return _MACHINES.get(name.lower(), name.lower())


def instruction_sets(environment: Mapping[str, Any]) -> frozenset[str]:
    """Instruction sets of the machine; ``vnni`` stands for either encoding of it."""
    found = set(environment["cpu"]["isa"])
    return frozenset(found | ({"vnni"} if found & _VNNI else set()))


def best_target(environment: Mapping[str, Any]) -> str:
    """Name of the target profile that describes this machine's CPU."""
    if _architecture(environment["machine"]) == "aarch64":
        return "arm64-cpu"
    return "x86-vnni" if "vnni" in instruction_sets(environment) else "x86-avx2"
