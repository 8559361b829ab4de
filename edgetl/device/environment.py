"""What a measurement was made on: processor, limits, clocks, software, and why it may not be fit to measure.

Everything is read from files (Linux's /proc and /sys), the interpreter and the GPU's driver: no subprocess,
no import of what is reported. A fact that a system does not tell is None; nothing here raises.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgetl.device.emulation import emulator
from edgetl.device.gpu import gpus
from edgetl.device.jetson import read_jetson
from edgetl.device.read import highest, read_number, read_text, to_number

_ISA = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "dotprod", "i8mm", "sve", "bf16"),
)
_KERNEL_NAMES = {"dotprod": "asimddp"}  # where /proc/cpuinfo calls it otherwise
# Arm Ltd's part numbers ("CPU part" of implementer 0x41), from the cores' technical reference manuals.
_ARM_CORES = {
    "0xd03": "Cortex-A53",
    "0xd05": "Cortex-A55",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd4f": "Neoverse-V2",
}
_HYPERVISORS = (
    "kvm",
    "qemu",
    "vmware",
    "virtualbox",
    "xen",
    "virtual machine",
    "bochs",
    "parallels",
    "bhyve",
)
_CONTAINERS = ("docker", "kubepods", "containerd", "lxc", "libpod")
CPU_SENSORS = ("cpu", "x86_pkg", "coretemp", "k10temp", "zenpower", "soc")
_ENGINES = ("openvino", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx")
_PACKAGES = ("edgetl", "numpy", "pillow", "cuda-bindings", *_ENGINES)


def environment(root: Path = Path("/")) -> dict[str, Any]:
    """The facts of this machine, JSON-ready.

    Args:
        root: the folder that holds ``proc``, ``sys`` and ``etc``.

    Returns:
        ``cpu`` (model, logical, physical, usable, quota in cores, isa, mhz, max_mhz, allowed_mhz,
        governor), ``board``, ``jetson`` (see ``device.jetson``; None elsewhere), ``gpus`` (see
        ``device.gpu``), ``memory`` (total_mb, available_mb, limit_mb), ``os``, ``kernel``, ``machine``,
        ``python``, ``temperature_c``, ``virtual``, ``emulated`` (by
        which program), ``container``, ``load`` (1, 5 and 15 minutes),
        ``versions`` of installed packages and ``warnings``: why it is not fit to measure on.
    """
    uname = os.uname() if hasattr(os, "uname") else None
    machine = platform.machine() or "unknown"
    cpuinfo = read_cpuinfo(root)
    jetson = read_jetson(root)
    facts: dict[str, Any] = {
        "cpu": _cpu(root, cpuinfo),
        "board": read_text(root / "proc/device-tree/model").rstrip("\0") or None,
        "jetson": asdict(jetson) if jetson else None,
        "gpus": [asdict(gpu) for gpu in gpus()],
        "memory": _memory(root),
        "os": _os_name(root) or (uname.sysname if uname else sys.platform),
        "kernel": uname.release if uname else None,
        "machine": machine,
        "python": ".".join(map(str, sys.version_info[:3])),
        "temperature_c": _thousandth(map(read_number, thermometers(root))),
        "virtual": virtual_machine(root, cpuinfo),
        "emulated": emulator(root),
        "container": _container(root),
        "load": _load(root),
        "versions": _versions(),
    }
    warnings = _warnings(root, facts) + (jetson.warnings() if jetson else [])
    return {**facts, "warnings": warnings}


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Twelve hex digits of what a machine computes with: processors, cores that may be used, GPUs."""
    cpu = facts["cpu"]
    decisive = {key: cpu[key] for key in ("model", "logical", "physical", "usable", "quota", "isa")}
    others = {
        "machine": facts["machine"],
        "board": facts["board"],
        "gpus": [g["name"] for g in facts["gpus"]],
    }
    return _digest({**decisive, **others})


def pace(facts: Mapping[str, Any]) -> str:
    """The fingerprint and the clocks and power the machine is allowed: of times, which depend on these."""
    settings = {key: facts["cpu"][key] for key in ("governor", "allowed_mhz")}
    mode = (facts["jetson"] or {}).get("power_mode")
    return _digest({**settings, "power_mode": mode, "fingerprint": fingerprint(facts)})


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _settings(text: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def read_cpuinfo(root: Path) -> list[dict[str, str]]:
    """/proc/cpuinfo, one dictionary per logical processor (and one for what follows them)."""
    return [
        _settings(block, ":") for block in read_text(root / "proc/cpuinfo").split("\n\n") if block.strip()
    ]


def _cpu(root: Path, cpuinfo: list[dict[str, str]]) -> dict[str, Any]:
    logical = sum("processor" in block for block in cpuinfo) or os.cpu_count() or 1
    tops = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    policies = list((root / "sys/devices/system/cpu/cpufreq").glob("policy[0-9]*"))
    first = cpuinfo[0] if cpuinfo else {}
    listed = f"{first.get('flags', '')} {first.get('Features', '')}".split()
    mhz = _thousandth(read_number(p / "scaling_cur_freq") for p in policies)
    return {
        "model": _cpu_model(cpuinfo),
        "logical": logical,
        "physical": len({read_text(top) for top in tops}) or None,
        "usable": _usable(root) or logical,
        "quota": _quota(root),
        "isa": [name for name in _ISA if _KERNEL_NAMES.get(name, name) in listed],
        "mhz": mhz or highest(to_number(b.get("cpu MHz", "")) for b in cpuinfo),
        "max_mhz": _thousandth(read_number(p / "cpuinfo_max_freq") for p in policies),
        "allowed_mhz": _thousandth(read_number(p / "scaling_max_freq") for p in policies),
        "governor": ", ".join(sorted({read_text(p / "scaling_governor") for p in policies} - {""})) or None,
    }


def _thousandth(values: Iterable[float | None]) -> float | None:
    top = highest(values)
    return None if top is None else top / 1e3


def _cpu_model(cpuinfo: list[dict[str, str]]) -> str | None:
    names = [b["model name"] for b in cpuinfo if b.get("model name")]
    if not names:
        arm = [b.get("CPU part", "?") for b in cpuinfo if b.get("CPU implementer") == "0x41"]
        names = [_ARM_CORES.get(part, f"Arm {part}") for part in arm]
    distinct = list(dict.fromkeys(names))  # big.LITTLE has several
    return " + ".join(distinct) or os.environ.get("PROCESSOR_IDENTIFIER")


def _usable(root: Path) -> int | None:
    """Processors this process may be scheduled on."""
    allowed = _settings(read_text(root / "proc/self/status"), ":").get("Cpus_allowed_list", "")
    if not allowed:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    ends = [span.split("-") for span in allowed.split(",")]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in ends)


def _cgroup_values(root: Path, controller: str, *names: str) -> list[list[str]]:
    """The words of the control files ``names`` in this process's group and every group above it."""
    groups = [line.split(":", 2) for line in read_text(root / "proc/self/cgroup").splitlines()]
    found = []
    for _, controllers, path in (group for group in groups if len(group) == 3):
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup"
        mounts = [base / controllers, base / controller] if controllers else [base]
        inside = Path(path.lstrip("/"))
        for mount in mounts:
            for group in (mount / inside, *(mount / p for p in inside.parents)):
                words = " ".join(read_text(group / name) for name in names).split()
                if words:
                    found.append(words)
    return found


def _quota(root: Path) -> float | None:
    """Cores' worth of time per second that control groups (v2, v1) allow; None without a limit."""
    periods = _cgroup_values(root, "cpu", "cpu.max")
    periods += _cgroup_values(root, "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    limits = [int(w[0]) / int(w[1]) for w in periods if len(w) == 2 and w[0] not in ("max", "-1")]
    return min(limits, default=None)


def _memory(root: Path) -> dict[str, float | None]:
    info = _settings(read_text(root / "proc/meminfo"), ":")
    total, available = (info.get(key, "").split() for key in ("MemTotal", "MemAvailable"))
    whole = int(total[0]) / 1024 if total else None
    limits = _cgroup_values(root, "memory", "memory.max")
    limits += _cgroup_values(root, "memory", "memory.limit_in_bytes")
    megabytes = [int(w[0]) / 2**20 for w in limits if w[0] != "max"]
    # cgroup v1 writes "no limit" as a number beyond any memory.
    limit = min((m for m in megabytes if whole is None or m < whole), default=None)
    free = int(available[0]) / 1024 if available else None
    return {"total_mb": whole, "available_mb": free, "limit_mb": limit}


def _os_name(root: Path) -> str | None:
    return _settings(read_text(root / "etc/os-release"), "=").get("PRETTY_NAME", "").strip('"') or None


def thermometers(root: Path, kinds: Sequence[str] = CPU_SENSORS) -> list[Path]:
    """Files, in thousandths of a degree Celsius, of sensors in whose names one of ``kinds`` is."""
    zones = [(z / "type", [z / "temp"]) for z in (root / "sys/class/thermal").glob("thermal_zone*")]
    chips = [(c / "name", list(c.glob("temp*_input"))) for c in (root / "sys/class/hwmon").glob("hwmon*")]
    # Other sensors are left alone: reading some (disks, embedded controllers) takes milliseconds.
    ours = [s for name, s in zones + chips if any(kind in read_text(name).lower() for kind in kinds)]
    return [sensor for sensors in ours for sensor in sensors]


def virtual_machine(root: Path, cpuinfo: list[dict[str, str]]) -> str | None:
    """The kind of virtual machine this is, as far as it tells; None on bare metal."""
    dmi = " ".join(read_text(root / "sys/class/dmi/id" / f) for f in ("sys_vendor", "product_name")).strip()
    if "microsoft" in read_text(root / "proc/version").lower():
        return "WSL"
    if any(name in dmi.lower() for name in _HYPERVISORS):
        return dmi
    flagged = any("hypervisor" in block.get("flags", "").split() for block in cpuinfo)
    return (read_text(root / "sys/hypervisor/type") or dmi or "hypervisor") if flagged else None


def _container(root: Path) -> str | None:
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    groups = read_text(root / "proc/1/cgroup") + read_text(root / "proc/self/cgroup")
    return next((name for name in _CONTAINERS if name in groups), None)


def _load(root: Path) -> list[float] | None:
    words = read_text(root / "proc/loadavg").split()
    if words:
        return [float(word) for word in words[:3]] if len(words) >= 3 else None
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _warnings(root: Path, facts: Mapping[str, Any]) -> list[str]:
    cpu = facts["cpu"]
    found = []
    if facts["load"] and facts["load"][0] > 0.5 * cpu["logical"]:
        found.append(f"busy: load {facts['load'][0]:.2f} on {cpu['logical']} cores")
    if cpu["governor"] and "powersave" in cpu["governor"]:
        found.append(f"governor {cpu['governor']}: {_of(cpu['mhz'])} of {_of(cpu['max_mhz'])} MHz now")
    if facts["emulated"]:
        found.append(f"emulated by {facts['emulated']}: no time taken here is a device's")
    if facts["virtual"]:
        found.append(f"virtual machine ({facts['virtual']}): {_steal(root)} of its time went to others")
    if cpu["quota"] is not None and cpu["quota"] < cpu["usable"]:
        found.append(f"throttled: CPU quota of {cpu['quota']:g} of {cpu['usable']} cores")
    return found + _throttling(root, cpu) + _battery(root)


def _of(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _steal(root: Path) -> str:
    """Share of processor time since start that the host gave to others (/proc/stat, eighth column)."""
    line = read_text(root / "proc/stat").split("\n", 1)[0].split()
    if len(line) < 9:
        return "an unknown share"
    ticks = [float(word) for word in line[1:9]]
    return f"{ticks[7] / max(1.0, sum(ticks)):.1%}"


def _throttling(root: Path, cpu: Mapping[str, Any]) -> list[str]:
    found = []
    if cpu["max_mhz"] and cpu["allowed_mhz"] and cpu["allowed_mhz"] < 0.99 * cpu["max_mhz"]:
        found.append(f"throttled: at most {cpu['allowed_mhz']:.0f} of {cpu['max_mhz']:.0f} MHz allowed")
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind, state = read_text(device / "type"), read_number(device / "cur_state")
        if state and kind.lower().startswith(("processor", "thermal-cpufreq", "cpufreq")):
            found.append(
                f"throttled: {kind} cools at {state:.0f} of {_of(read_number(device / 'max_state'))}"
            )
    return found


def _battery(root: Path) -> list[str]:
    found = []
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        kind, status, scope = (read_text(supply / name) for name in ("type", "status", "scope"))
        if kind == "Battery" and status == "Discharging" and scope != "Device":  # not a mouse's
            found.append(f"on battery: {supply.name} at {read_text(supply / 'capacity') or '?'} %")
    return found
