"""Which of OpenVINO's devices this machine has, and whether one is what a target names."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.device.environment import environment
from edgetl.errors import BackendError, InputError, MissingDependencyError

if TYPE_CHECKING:
    from edgetl.profiles import Target

CPU, GPU, NPU = "CPU", "GPU", "NPU"
ALLOW = "allow_fallback"
"""The option with which a target lets OpenVINO choose among several devices."""

_COMPOSITE = ("AUTO", "MULTI", "HETERO", "BATCH")
_NODES = {NPU: ("accel/accel*",), GPU: ("dri/renderD*", "dxg")}
"""Device files below /dev, one of which Linux has for each such device; dxg is Windows' in its Linux."""


@dataclass(frozen=True)
class Device:
    """What OpenVINO tells of a device."""

    name: str
    architecture: str
    capabilities: tuple[str, ...]


def openvino() -> Any:
    """The package.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    try:
        import openvino as package
    except ImportError as error:
        raise MissingDependencyError("openvino", "openvino") from error
    return package


def told(error: Exception) -> str:
    """What OpenVINO's exception says, without the places in its sources it went through; one line."""
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if line and not line.startswith("Exception from "))


def composite(device: str) -> bool:
    """Whether the name stands for several devices, as in ``HETERO:GPU,CPU``."""
    return device.split(":", maxsplit=1)[0] in _COMPOSITE


def members(device: str) -> list[str]:
    """The devices a name lists, the preferred one first; none for a bare ``AUTO``."""
    if not composite(device):
        return [device]
    names = [re.sub(r"\(.*\)$", "", name.strip()) for name in device.partition(":")[2].split(",")]
    return [name for name in names if name and not name.startswith("-")]


def family(device: str) -> str:
    """``GPU`` of ``GPU.1``."""
    return device.split(".", maxsplit=1)[0]


def require_one_device(device: str, options: Mapping[str, Any]) -> None:
    """Refuse a device under which OpenVINO places nodes as it likes, unless that is asked for.

    Raises:
        InputError: if it is refused, or the option is neither true nor false.
    """
    allowed = options.get(ALLOW, False)
    if not isinstance(allowed, bool):
        raise InputError(f"option {ALLOW} must be true or false, not {allowed!r}")
    if composite(device) and not allowed:
        raise InputError(
            f"device {device} lets OpenVINO move a model to another device unasked; name one device, "
            f"or set {ALLOW} = true in the target's options"
        )


@cache
def has_vnni() -> bool:
    """Whether this processor adds INT8 products in 32 bits; Arm's dot products do too."""
    return bool({"avx_vnni", "avx512_vnni", "dotprod"} & set(environment()["cpu"]["isa"]))


def obstacle(target: Target) -> str | None:
    """Why engines for the target can't be loaded here; costs no import where its device is not there."""
    wanted = next(iter(members(target.device)), CPU)
    kind = family(wanted)
    if kind == CPU:
        return None
    if not _has_file(kind):
        return f"there is no Intel {kind} here; {target.name} runs on one"
    found = _look_up(wanted)
    if isinstance(found, str):
        return f"{found}; {target.name} runs on one"
    if kind == NPU and (generation := target.build.get("npu_platform")):
        if str(generation) not in re.findall(r"\d+", found.architecture):
            return f"the NPU here is an NPU {found.architecture}; {target.name} needs an NPU {generation}"
    elif target.precision == "int8" and "INT8" not in found.capabilities:
        return f"{found.name} does not compute in INT8; {target.name} needs a device that does"
    return None


def require_present(device: str) -> None:
    """Refuse a device that is not here, before OpenVINO does so in words about its libraries.

    Raises:
        BackendError: naming it.
    """
    for name in members(device):
        if family(name) != CPU and isinstance(why := _look_up(name), str):
            raise BackendError(why)


def _has_file(kind: str) -> bool:
    """Whether Linux knows a device that may be of this kind; only OpenVINO can tell on other systems."""
    if sys.platform != "linux" or kind not in _NODES:
        return True
    return any(any(Path("/dev").glob(pattern)) for pattern in _NODES[kind])


@cache
def _look_up(device: str) -> Device | str:
    """A device as OpenVINO sees it, or why it does not."""
    try:
        core = openvino().Core()
        known = core.available_devices
        if not any(device in (name, family(name)) for name in known):
            return f"OpenVINO sees no {device} here, only {', '.join(known)}: its driver may be missing"
        facts = [
            core.get_property(device, key)
            for key in ("FULL_DEVICE_NAME", "DEVICE_ARCHITECTURE", "OPTIMIZATION_CAPABILITIES")
        ]
    except (MissingDependencyError, RuntimeError) as error:
        return told(error)
    return Device(str(facts[0]), str(facts[1]), tuple(map(str, facts[2])))
