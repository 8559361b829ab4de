"""What is there and what is missing for TensorRT's targets: on the device, or where its bundle is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edgetl.backends.base import Availability
from edgetl.backends.tensorrt.binding import MODULES
from edgetl.doctor.asking import ask_backend, ask_features
from edgetl.engines import this_machine
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.profiles import Target

Facts = Mapping[str, Any]
_OLDEST = (10, 3)
_LAST_WITH_DLA, _AGAIN_WITH_DLA = (10, 7), (11, 4, 1)
_PYTHON_ON_JETSON = (
    "JetPack installs it for the system's Python (apt package python3-libnvinfer), and a virtual environment "
    "sees that only if it was made with --system-site-packages"
)


class Finding(NamedTuple):
    """One line of what was found.

    Attributes:
        topic: ``ready``, ``missing``, ``note``; ``here`` and ``there`` say what is done on which machine.
    """

    topic: Literal["ready", "missing", "note", "here", "there"]
    text: str


def findings(target: Target, facts: Facts, module: Availability, *, loads: bool) -> list[Finding]:
    """What was found for a target; nothing for one that is not TensorRT's.

    Args:
        facts: of this machine, see ``device.environment``.
        module: whether the target's TensorRT can be used.
        loads: whether engines of the target can be loaded here.
    """
    if target.backend not in MODULES:
        return []
    gpu = next(iter(facts["gpus"]), None)
    found = [*_board(facts), *_module(target, facts, module), *_gpu(target, gpu), *_cuda_bindings(facts, gpu)]
    if loads and gpu is not None:
        found += _memory(target, facts, gpu)
    if target.made == "on-device":
        found += _built_here(loads) if _fits(target, gpu) else [*_work_here(target), *_work_there()]
    return found


def lacking_to_plan() -> list[str]:
    """Packages that making a bundle for a device takes and that are not installed."""
    return [name for name, version in versions("onnx", "onnxruntime").items() if version is None]


def _board(facts: Facts) -> Iterator[Finding]:
    jetson = facts["jetson"]
    if jetson:
        jetpack = f"JetPack {jetson['jetpack'] or 'unknown'} (Jetson Linux {jetson['l4t'] or 'unknown'})"
        mode = f"power mode {jetson['power_mode'] or 'unknown'}"
        yield Finding("ready", f"board: {jetson['model'] or 'a Jetson'}, {jetpack}, {mode}")


def _module(target: Target, facts: Facts, module: Availability) -> Iterator[Finding]:
    jetson = facts["jetson"]
    if not module.ok:
        where = f"; {_PYTHON_ON_JETSON}" if jetson and target.backend == "tensorrt" else ""
        yield Finding("missing", f"{module.reason}{where}; edgetl installs nothing by itself")
        return
    version = module.versions[target.backend]
    yield Finding(
        "ready", f"path: engines are built by the Python module {MODULES[target.backend]} {version}"
    )
    yield Finding("ready", f"features: {ask_features(target.backend)}")
    if target.backend == "tensorrt":
        yield from _version(version, jetson)
        yield from _accelerator(target, version)


def _version(version: str, jetson: Facts | None) -> Iterator[Finding]:
    release = ".".join(version.split(".")[:2])
    if _release(version) < _OLDEST:
        update = "; update the board to JetPack 6.1 or later" if jetson else ""
        oldest = ".".join(map(str, _OLDEST))
        yield Finding("missing", f"TensorRT {oldest} or later: {version} is too old{update}")
    elif jetson and jetson["tensorrt"] == release:
        yield Finding("ready", f"version: TensorRT {version} is the one JetPack {jetson['jetpack']} brings")
    elif jetson and jetson["tensorrt"]:
        brings = f"JetPack {jetson['jetpack']} brings TensorRT {jetson['tensorrt']}, this is {version}"
        yield Finding("note", f"version: {brings}; an engine runs only under the version that built it")
    elif jetson:
        yield Finding("note", f"version: which TensorRT this JetPack brings is not known, this is {version}")


def _accelerator(target: Target, version: str) -> Iterator[Finding]:
    """Releases between these have no deep-learning accelerator, whatever the board has."""
    if (
        "dla_core" in target.build
        and _release(version) > _LAST_WITH_DLA
        and _release(version, 3) < _AGAIN_WITH_DLA
    ):
        last, again = (".".join(map(str, bound)) for bound in (_LAST_WITH_DLA, _AGAIN_WITH_DLA))
        yield Finding("missing", f"TensorRT up to {last} or from {again} on: {version} can't use the DLA")


def _release(version: str, parts: int = 2) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:parts] if part.isdigit())


def _gpu(target: Target, gpu: Facts | None) -> Iterator[Finding]:
    wanted = f"a GPU of compute capability {' or '.join(target.compute_capabilities)}"
    purpose = "" if target.made == "on-device" else ", to run and measure the engine here"
    if gpu is None:
        yield Finding("missing", f"{wanted}{purpose}: there is no NVIDIA GPU or driver here")
        return
    described = f"{gpu['name']} of compute capability {gpu['compute_capability']}"
    if not _fits(target, gpu):
        yield Finding("missing", f"{wanted}{purpose}: here is {described}")
        return
    size = f"{gpu['multiprocessors']} multiprocessors, driver for CUDA {gpu['driver']}"
    yield Finding("ready", f"GPU: {described}, as {target.name} asks; {size}")


def _fits(target: Target, gpu: Facts | None) -> bool:
    return gpu is not None and gpu["compute_capability"] in target.compute_capabilities


def _cuda_bindings(facts: Facts, gpu: Facts | None) -> Iterator[Finding]:
    """cuda-bindings, which running an engine needs; those of a later CUDA than the driver's don't work."""
    if gpu is None:
        return
    version, limit = facts["versions"].get("cuda-bindings"), int(gpu["driver"].split(".")[0]) + 1
    remedy = f"pip install 'cuda-bindings<{limit}'"
    if version is None:
        yield Finding("missing", f"cuda-bindings, to run engines: {remedy}")
    elif int(version.split(".")[0]) >= limit:
        yield Finding(
            "missing",
            f"cuda-bindings for this driver (CUDA {gpu['driver']}): {version} is for a later one; {remedy}",
        )
    else:
        yield Finding("ready", f"cuda-bindings {version}")


def _memory(target: Target, facts: Facts, gpu: Facts) -> Iterator[Finding]:
    """Memory that a build may take for scratch, against what there is."""
    shared = gpu["integrated"]
    has: float | None = facts["memory"]["available_mb"] if shared else gpu["memory_mb"]
    if has is None:
        return
    free = f"{has:.0f} MB free, shared with the processor" if shared else f"{has:.0f} MB on the GPU"
    workspace = target.build.get("workspace_mb")
    if workspace is None:
        yield Finding("ready", f"memory: {free}; no limit is set to what a build may take (workspace_mb)")
    elif has < float(workspace):
        yield Finding(
            "missing", f"memory: {free}, the build may take {workspace} (workspace_mb): close other programs"
        )
    else:
        yield Finding("ready", f"memory: {free}; the build may take {workspace} for scratch (workspace_mb)")


def _built_here(loads: bool) -> Iterator[Finding]:
    once = "" if loads else "once what is missing is there, "
    yield Finding("here", f"{once}edgetl build BUNDLE builds for this GPU with this machine's TensorRT")


def _work_here(target: Target) -> Iterator[Finding]:
    """What is done for a device on a machine that is not one."""
    if this_machine() != target.machine:
        yield Finding("missing", f"the device: it is {target.machine}, this machine is {this_machine()}")
    if lacking := lacking_to_plan():
        names = ", ".join(lacking)
        yield Finding("missing", f"{names}, to quantize and plan here: pip install 'edgetl[quantize]'")
        return
    yield Finding("here", "quantize, refit the head on the integer features, write the build plan")
    yield Finding("here", "accuracy, simulated: the quantized model in onnxruntime on the CPU")
    rtx = ask_backend("tensorrt-rtx")
    if rtx.ok:
        version = rtx.versions["tensorrt-rtx"]
        yield Finding("here", f"check by the ONNX parser of TensorRT for RTX {version}, without a GPU")
    else:
        yield Finding("note", f"no check by TensorRT's ONNX parser here: {rtx.reason}")


def _work_there() -> Iterator[Finding]:
    yield Finding("there", "copy the bundle to the device and run there: edgetl build BUNDLE")
    needs = "edgetl without extras, cuda-bindings and the device's own TensorRT (10.3 or later)"
    yield Finding("there", f"that needs {needs}; no torch, no onnx, no compiler")
