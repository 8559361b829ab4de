"""Whether times of two documents were taken on machines that are the same as far as speed goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetl.comparing.entries import Entry, items, section

_DECISIVE = ("model", "logical", "physical", "usable", "quota", "isa", "governor")


def machine_differences(base: Entry, new: Entry) -> list[str]:
    """What differs between the two, as ``"cores 2, now 4"``: hardware, clock policy, the engine's runtime."""
    before, after = (_decisive(entry) for entry in (base, new))
    names = dict.fromkeys((*before, *after))
    return [
        f"{name} was {_written(before.get(name))}, is {_written(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _decisive(entry: Entry) -> dict[str, Any]:
    environment = entry.environment
    cpu = section(environment, "cpu")
    return {
        **{f"CPU {name}": cpu.get(name) for name in _DECISIVE},
        "architecture": environment.get("machine"),
        "board": environment.get("board"),
        "power mode": section(environment, "jetson").get("power_mode"),
        "GPUs": [gpu.get("name") for gpu in items(environment, "gpus") if isinstance(gpu, Mapping)],
        **_runtimes(entry),
    }


def _runtimes(entry: Entry) -> dict[str, Any]:
    """Versions of the engine's own runtime: packages that are named after its backend."""
    backend = str(entry.facts.get("backend"))
    versions = section(entry.environment, "versions")
    return {name: version for name, version in versions.items() if name.startswith(backend)}


def _written(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
