"""What backends and the rest of edgetl tell each other: values only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Consume = Callable[[int, Float32], None]


@dataclass(frozen=True)
class EngineSpec:
    """What it takes to load an engine: the part of a target that goes into a bundle's manifest.

    Attributes:
        backend: name of the backend.
        file: the engine's main file, relative to the bundle.
        precision: asked for.
        float_precision: asked for in the unquantized part.
        device: the runtime's device name.
        options: runtime options.
        threads: intra-operator threads; 0 leaves it to the runtime.
    """

    backend: str
    file: str
    precision: str
    float_precision: str
    device: str
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    threads: int = 0


@dataclass(frozen=True)
class Availability:
    """Whether a backend can be used here; ``reason`` says what is missing and how to get it."""

    ok: bool
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Calibration:
    """Images to find ranges with: ``batches()`` starts a new pass over ``uint8 [1, H, W, 3]`` arrays."""

    batches: Callable[[], Iterable[UInt8]]
    count: int


@dataclass(frozen=True)
class Precision:
    """What an engine really computes in, read back from its runtime.

    Attributes:
        asked: the precision that was asked for.
        used: the precision of most of the arithmetic (convolutions and matrix products).
        float_part: precision of what is not quantized.
        layers: number of executed layers by precision.
    """

    asked: str
    used: str
    float_part: str
    layers: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "used": self.used,
            "float_part": self.float_part,
            "executed": dict(self.layers),
        }


@dataclass(frozen=True)
class Placement:
    """Where an engine's nodes ran; ``share_of_time`` is None where the runtime does not tell."""

    device: str
    share_of_nodes: float
    share_of_time: float | None
    elsewhere: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "share_of_nodes": self.share_of_nodes,
            "share_of_time": self.share_of_time,
            "elsewhere": list(self.elsewhere),
        }


@dataclass(frozen=True)
class LayerTime:
    """One executed layer of one inference.

    Attributes:
        name: the runtime's.
        nodes: names of the ONNX nodes it computes, as far as the runtime tells; none for a layer of the
            runtime's own, such as a change of the memory layout.
        op: the runtime's kind of layer.
        device: as the runtime names it.
        precision: ``int8``, ``f32``, ``f16``, ``bf16``, another type's name, or ``unknown``.
        ms: of one inference: the median of the profiled ones, or their mean where the runtime adds them up.
    """

    name: str
    nodes: tuple[str, ...]
    op: str
    device: str
    precision: str
    ms: float

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "nodes": list(self.nodes)}


@dataclass(frozen=True)
class Proof:
    """What is known of an engine without loading it: what its builder reported, or what is planned.

    Attributes:
        precision: None where there is no engine yet.
        placement: None where there is no engine yet.
        layers: JSON-ready summary of the engine's layers, for the report.
        estimate: JSON-ready, what the builder expects of the engine on its device: ``source``, ``note``, and
            quantities of the kind "estimated", ``latency_ms`` among them where it tells one.
        compiled: False for an engine that the device's own compiler has yet to take.
    """

    precision: Precision | None
    placement: Placement | None
    layers: Mapping[str, Any]
    estimate: Mapping[str, Any] | None = None
    compiled: bool = True


@dataclass(frozen=True)
class VendorTool:
    """The vendor's own way of measuring an engine's latency, in a process of its own.

    Attributes:
        name: as its users call it.
        command: program and arguments.
        pattern: regular expression, searched in what it prints; its first group is the median latency in the
            unit that is its second group, ``ms`` or ``us``, or in ms where it has one group only.
        version: of the tool; None where it is not known.
    """

    name: str
    command: tuple[str, ...]
    pattern: str
    version: str | None
