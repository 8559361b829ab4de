"""What the builder is told: taken from a target, kept in a build plan, printed as a command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from edgetl.errors import BackendError, InputError

if TYPE_CHECKING:
    from edgetl.profiles import Target

_FROM_TARGET = (
    *("workspace_mb", "optimization_level", "max_tactics", "dla_core"),
    *("gpu_fallback", "timing_cache", "opset_limit"),
)
_RANGES = {
    "batch": (1, 1 << 16),
    "workspace_mb": (1, 1 << 20),
    "optimization_level": (0, 5),
    "max_tactics": (1, 1 << 20),
    "dla_core": (0, 1),
    "opset_limit": (13, 99),
}
_CONTEXTS = 2


@dataclass(frozen=True)
class BuildSettings:
    """Settings of one build; None leaves a thing to TensorRT.

    Attributes:
        batch: images in one inference.
        compute_capabilities: of the GPUs the engine is for, as in ``8.9``.
        workspace_mb: most scratch memory a layer may take, MiB.
        optimization_level: 0 (quick build) to 5 (long search).
        max_tactics: most kernels tried for a layer.
        dla_core: run on this deep-learning accelerator; None runs on the GPU.
        gpu_fallback: what the accelerator can't run goes to the GPU, and is listed.
        opset_limit: newest ONNX opset that the device's TensorRT parses.
        timing_cache: keep kernel timings in edgetl's cache folder and use them in the next build; an engine
            for RTX times no kernels.
    """

    batch: int = 1
    compute_capabilities: tuple[str, ...] = ()
    workspace_mb: int | None = None
    optimization_level: int | None = None
    max_tactics: int | None = None
    dla_core: int | None = None
    gpu_fallback: bool = False
    opset_limit: int | None = None
    timing_cache: bool = True

    @classmethod
    def of(cls, target: Target) -> BuildSettings:
        """The settings a target asks for.

        Raises:
            InputError: if its ``build`` table has a key this backend does not know.
        """
        if unknown := sorted(set(target.build) - set(_FROM_TARGET)):
            raise InputError(
                f"target {target.name}: TensorRT knows no build setting {unknown[0]!r}; "
                f"known: {', '.join(_FROM_TARGET)}"
            )
        if not target.compute_capabilities:
            raise InputError(f'target {target.name} names no compute_capabilities, as in ["8.9"]')
        run_options(target.options)
        device_index(target.device)
        if "dla_core" in target.build:
            _require_dla(target)
        given = {"batch": target.batch, "compute_capabilities": target.compute_capabilities, **target.build}
        return cls.from_dict(given)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BuildSettings:
        """Settings from JSON.

        Raises:
            InputError: if a value has the wrong type.
        """
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        capabilities = known.pop("compute_capabilities", ())
        for name, value in known.items():
            wanted = bool if name in ("gpu_fallback", "timing_cache") else int
            absent = value is None and name not in ("batch", "gpu_fallback", "timing_cache")
            if not absent and type(value) is not wanted:
                raise InputError(f"TensorRT build setting {name} must be {wanted.__name__}, not {value!r}")
            if value is not None and name in _RANGES:
                low, high = _RANGES[name]
                if not low <= value <= high:
                    raise InputError(f"TensorRT build setting {name} must be {low} to {high}, not {value}")
        return cls(compute_capabilities=tuple(map(str, capabilities)), **known)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "compute_capabilities": list(self.compute_capabilities)}


def device_index(device: str) -> int:
    """Index of ``cuda:0``.

    Raises:
        BackendError: if it is no such name.
    """
    prefix, colon, index = device.partition(":")
    if prefix != "cuda" or not index.isdigit() or not colon:
        raise BackendError(f"TensorRT runs on cuda:0, cuda:1, …, not on {device!r}")
    return int(index)


def run_options(given: Mapping[str, Any]) -> tuple[bool, int]:
    """(whether to record graphs, inferences in flight) of a target's or spec's options.

    Raises:
        InputError: if there are other options, or values of another type.
    """
    options = {"cuda_graph": True, "contexts": _CONTEXTS, **given}
    use_graph, contexts = options.pop("cuda_graph"), options.pop("contexts")
    if options:
        raise InputError(f"TensorRT knows no option {next(iter(options))!r}; known: contexts, cuda_graph")
    if type(use_graph) is not bool or type(contexts) is not int or contexts < 1:
        raise InputError("TensorRT's option cuda_graph must be true or false, contexts a number from 1")
    return use_graph, contexts


def _require_dla(target: Target) -> None:
    if target.backend == "tensorrt-rtx":
        raise InputError(f"target {target.name}: GPUs for RTX have no DLA; leave dla_core out")
    if "f16" not in (target.precision, target.float_precision):
        raise InputError(f"target {target.name}: DLA computes in INT8 and f16 only")


def trtexec(
    settings: BuildSettings, backend: str, model: str, engine: str, dynamic: str | None = None
) -> str:
    """The vendor's own command that builds the same engine.

    Args:
        dynamic: see ``demands.Demands``.

    The flags are those of ``trtexec`` 10.x, and of ``tensorrt_rtx``, its counterpart for RTX.
    """
    rtx = backend == "tensorrt-rtx"
    words = ["tensorrt_rtx" if rtx else "trtexec", f"--onnx={model}", f"--saveEngine={engine}"]
    words += ["--skipInference", "--profilingVerbosity=detailed", "--noTF32"]
    if rtx:
        listed = ",".join(name.replace(".", "") for name in settings.compute_capabilities)
        words += [f"--computeCapabilities={listed}"] if listed else []
    else:
        words.append("--stronglyTyped")
    if dynamic:
        shape = dynamic.format(batch=settings.batch)
        words += [f"--{which}Shapes={shape}" for which in ("min", "opt", "max")]
    if settings.workspace_mb is not None:
        words.append(f"--memPoolSize=workspace:{settings.workspace_mb}M")
    if settings.optimization_level is not None:
        words.append(f"--builderOptimizationLevel={settings.optimization_level}")
    if settings.max_tactics is not None:
        words.append(f"--maxTactics={settings.max_tactics}")
    if settings.dla_core is not None:
        words.append(f"--useDLACore={settings.dla_core}")
        words += ["--allowGPUFallback"] if settings.gpu_fallback else []
    if settings.timing_cache and not rtx:
        words.append("--timingCacheFile=timing.cache")
    return shlex.join(words)
