"""What a backend is: four verbs, and a session that runs one engine.

Backends know no stage. A session needs the standard library, NumPy and the engine's own runtime only,
so that it runs on the device.
"""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgetl.backends.values import (
    Availability,
    Calibration,
    Consume,
    EngineSpec,
    Float32,
    LayerTime,
    Placement,
    Precision,
    Proof,
    UInt8,
    VendorTool,
)
from edgetl.errors import BackendError, InputError
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.profiles import Recipe, Target

__all__ = [
    "PORTABLE",
    "Availability",
    "Backend",
    "Calibration",
    "Consume",
    "EngineSpec",
    "Float32",
    "HeadQuantization",
    "LayerTime",
    "Placement",
    "Precision",
    "Proof",
    "Session",
    "UInt8",
    "VendorTool",
    "failed",
    "image_shape",
    "majority",
    "matching_nodes",
]

HeadQuantization = Literal["inputs", "all"]
"""Features and weights only, with the bias and the logits in float; or the bias and the logits too."""

PORTABLE = "model.onnx"
"""File name of the ONNX an engine is built from."""


def image_shape(shape: Sequence[Any], kind: str, engine: Path) -> tuple[int, int, int]:
    """``(H, W, 3)`` of an engine's input.

    Args:
        shape: of the input, batch first.
        kind: the runtime's name of its element type.

    Raises:
        BackendError: if the input is not ``uint8 [N, H, W, 3]``.
    """
    sizes = tuple(size for size in shape[1:] if isinstance(size, int))
    if "uint8" not in kind or len(shape) != 4 or len(sizes) != 3 or sizes[2] != 3:
        raise BackendError(
            f"{engine.name} takes {kind} {list(shape)}; edgetl's engines take uint8 [N, H, W, 3]"
        )
    return (sizes[0], sizes[1], sizes[2])


class Session(ABC):
    """One loaded engine: ``uint8 [N, H, W, 3]`` RGB in, ``float32 [N, outputs]`` out.

    Attributes:
        notes: what does not go as it was asked for, a line each; they go into the results.
        threads: how many the runtime says that it computes with; None where it does not tell.
    """

    input_shape: tuple[int, int, int]
    notes: Sequence[str] = ()
    threads: int | None = None

    def run(self, images: UInt8) -> Float32:
        """Run one batch, blocking.

        Raises:
            InputError: if the batch is not ``uint8 [N, H, W, 3]`` of the engine's size.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.input_shape:
            expected = "x".join(map(str, self.input_shape))
            raise InputError(
                f"engine input must be uint8 [N, {expected}], not {images.dtype} {list(images.shape)}"
            )
        return self._run(images)

    @abstractmethod
    def _run(self, images: UInt8) -> Float32: ...

    @abstractmethod
    def run_many(self, batches: Iterator[UInt8], consume: Consume) -> None:
        """Throughput mode: keep several inferences in flight; ``consume(index, outputs)`` once a batch."""

    @abstractmethod
    def precision(self) -> Precision: ...

    @abstractmethod
    def placement(self) -> Placement: ...

    def layer_times(self) -> tuple[LayerTime, ...]:
        """The layers of one inference in the order they run; none where the runtime does not tell."""
        return ()


class Backend(ABC):
    """An engine's toolchain. Methods import what they need, so that listing backends costs nothing."""

    name: str
    extra: str
    dialect: str | None = None
    """Name of the ONNX dialect that ``prepare`` writes; None where any ONNX will do."""
    int8_head: HeadQuantization | None = None
    """How the head of an INT8 model is quantized; None leaves it in float."""
    quantizers: tuple[str, ...] = ()
    """Packages whose versions decide what ``quantize`` writes."""
    companions: tuple[str, ...] = ()
    """Patterns of files beside an engine that the device does not need, so that its size leaves them out."""
    bundle_options: frozenset[str] | None = None
    """Options that a bundle may hand to the runtime; None for all. Runtimes have others, which name libraries
    to load and files to write: these stay in the hands of whoever owns the device."""
    spins: bool = False
    """Whether its runtime's threads spin on after an inference, and take time from what comes next."""
    analyses: bool = False
    """Whether ``analyse`` tells where a quantized model loses accuracy."""
    float_reference: tuple[str, str] = ("onnxruntime", "CPUExecutionProvider")
    """Backend and device that run the float model where this backend's engines can't be loaded."""

    @abstractmethod
    def available(self) -> Availability:
        """What is installed and which devices it sees. Never raises."""

    def versions(self) -> dict[str, str]:
        """Versions of the packages that build and run its engines, as far as they are installed."""
        found = versions(self.name, f"{self.name}-gpu")
        return {name: version for name, version in found.items() if version}

    def obstacle(self, target: Target) -> str | None:
        """Why an engine for this target can't be loaded on this machine; None if it can."""
        return None

    def simulator(self, spec: EngineSpec) -> EngineSpec | None:
        """What answers for an engine that can't be loaded here.

        Its file is ``PORTABLE`` where it runs the portable ONNX, else a file in the engine's own folder.
        """
        return None

    def stand_in(self, spec: EngineSpec) -> EngineSpec:
        """What computes a quantized ONNX that is no engine yet, as the refit of the head takes it."""
        return self.simulator(spec) or spec

    def simulated_images(self, spec: EngineSpec) -> int | None:
        """Most images that a slow simulator is given; None for all."""
        return None

    def supports(self, model: Path, target: Target) -> list[str] | None:
        """A line for each node that the toolchain's own parser refuses; None where only a build tells.

        Raises:
            BackendError: if the toolchain fails, or is not installed.
        """
        return None

    def prepare(self, model: Path, target: Target, out: Path) -> None:
        """Write ``model`` in this backend's dialect: what is built, and bundled as the portable model."""
        shutil.copyfile(model, out)

    def simulation(self, model: Path, out: Path) -> None:
        """Write what the simulator runs for a portable model: the same computation in a form it runs fast."""
        shutil.copyfile(model, out)

    def replays(self, spec: EngineSpec) -> bool:
        """Whether the simulator runs the portable model as it is too, as verifying a bundle takes."""
        return True

    def build_parts(self, target: Target) -> Mapping[str, Any]:
        """What an engine depends on besides its model, batch, device and the backend's version."""
        return {}

    @abstractmethod
    def quantize(
        self,
        model: Path,
        calibration: Calibration,
        recipe: Recipe,
        target: Target,
        keep_float: Sequence[str],
        out: Path,
    ) -> None:
        """Write an INT8 QDQ ONNX of ``model`` to ``out``.

        Args:
            model: float ONNX with the uint8 prefix.
            keep_float: node names that stay in float.

        Raises:
            BackendError: if the toolchain fails.
        """

    @abstractmethod
    def build(self, model: Path, target: Target, folder: Path) -> str:
        """Write the engine of a float or QDQ ONNX into ``folder``; returns its main file's name.

        Raises:
            BackendError: if the engine can't be built.
        """

    def plan(self, model: Path, target: Target, folder: Path) -> str:
        """Write how to build the engine on a device that is not here; returns the plan's file name.

        Raises:
            BackendError: if engines of this backend need no plan, or the model can't be built there.
        """
        raise BackendError(f"{self.name} builds its engines here, there is nothing to plan")

    def rebuild(self, model: Path, former: Path, spec: EngineSpec, folder: Path) -> str:
        """Build an engine on this device from a bundle's portable model.

        Args:
            former: the bundle's plan, or its engine made for another device.

        Raises:
            BackendError: if this backend's engines are not tied to a device, or the build fails.
        """
        raise BackendError(
            f"{self.name} engines run on every machine of their kind, there is nothing to rebuild"
        )

    def proof(self, engine: Path, spec: EngineSpec) -> Proof | None:
        """What the builder reported of an engine, or None where only the loaded engine tells."""
        return None

    def analyse(self, reference: Path, model: Path, target: Target, images: UInt8) -> Mapping[str, Any]:
        """The toolchain's own error analysis of a quantized model, layer by layer.

        Args:
            reference: the float ONNX that ``model`` was quantized from, with the same head.
            images: ``uint8 [n, H, W, 3]``, calibration images.

        Returns:
            JSON-ready: ``source``, ``note``, ``twin_cosine`` where not ``model`` itself but a twin of it was
            analysed, and ``layers`` in the network's order: ``name``, ``op``, and as quantities the cosine
            of the layer's INT8 output to its float one, ``entire`` with all errors before it and ``single``
            with its own only.

        Raises:
            BackendError: if the toolchain fails, or has no such analysis.
        """
        raise BackendError(f"{self.name} has no error analysis")

    def vendor_tool(self, engine: Path, spec: EngineSpec, seconds: float) -> VendorTool | None:
        """The vendor's tool with the settings of a session of this spec; None where there is none here.

        Args:
            seconds: how long it is to measure.
        """
        return None

    @abstractmethod
    def load(self, engine: Path, spec: EngineSpec, *, throughput: bool = False) -> Session:
        """Load an engine file.

        Raises:
            BackendError: if it can't be loaded, or not on the device asked for.
        """


def matching_nodes(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Names that a pattern matches in whole.

    Raises:
        InputError: if a pattern is no regular expression, or matches nothing.
    """
    found: list[str] = []
    names = list(names)
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise InputError(
                f"keep_float pattern {pattern!r} is not a regular expression: {error}"
            ) from error
        hits = [name for name in names if expression.fullmatch(name)]
        if not hits:
            raise InputError(f"keep_float pattern {pattern!r} matches no node of the model")
        found += hits
    return list(dict.fromkeys(found))


def failed(verb: str, file: Path, error: Exception) -> BackendError:
    """One line for whatever a runtime throws."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    detail = lines[-1] if lines else type(error).__name__
    return BackendError(f"cannot {verb} {file.name}: {detail}")


def majority(layers: Mapping[str, int]) -> str:
    """The precision most layers have; ``unknown`` where the runtime tells nothing."""
    return max(layers, key=lambda name: (layers[name], name)) if layers else "unknown"
