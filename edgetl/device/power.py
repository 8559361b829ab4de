"""Power sensors of this machine: the processor's counters, rails of a board, hwmon chips, NVIDIA's driver.

They are read from files (Linux's /sys) and from NVML: no subprocess, no root unless the kernel asks for it.
Nothing here raises; a sensor that does not answer is not listed, and :func:`absent` says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgetl.device.nvml import nvml_gpus
from edgetl.device.read import read_number, read_text

Read = Callable[[], "float | None"]

_RAPL = "sys/class/powercap"
_HWMON = "sys/class/hwmon"
_REST_OF_BOARD = "the rest of the board; rails are not added up, because some feed others"
# name of a RAPL zone: what it counts, what it leaves out (Linux, drivers/powercap/intel_rapl_common.c).
# The zones "core" and "uncore" are parts of a package and would count the same energy twice.
_ZONES = {
    "package": (
        "the processor's package: cores, caches, memory controller, built-in graphics",
        "DRAM, disks, fans, the losses of the power supply",
    ),
    "dram": ("the memory", "the processor, disks, fans, the losses of the power supply"),
    "psys": (
        "the platform as its maker wired it, often all behind the battery or the power supply",
        "what the maker left out; the losses of the power supply",
    ),
}
# Rails of Jetson modules as NVIDIA's developer guide describes them (Jetson Linux, "Power and Performance").
_RAILS = {
    "VIN": ("all behind the board's input: module and carrier", "the losses of the power supply"),
    "VDD_IN": ("the whole module", "the carrier board and what is plugged into it"),
    "VDD_CPU_GPU_CV": ("processor, GPU and deep-learning accelerators", _REST_OF_BOARD),
    "VDD_GPU_SOC": ("GPU and the SoC's core", _REST_OF_BOARD),
    "VDD_CPU_CV": ("processor and deep-learning accelerators", _REST_OF_BOARD),
    "VDD_SOC": ("the SoC's core without processor and GPU", _REST_OF_BOARD),
    "VDD_GPU": ("GPU", _REST_OF_BOARD),
}
_UNKNOWN = "whatever this chip does not watch; it does not tell what that is"
# Seconds between new values. RAPL's counters move about once a millisecond (Intel's Software Developer's
# Manual, volume 3); NVML's energy about ten times a second, and its power is an average over one second.
_RAPL_PERIOD = 0.001
_NVML_ENERGY_PERIOD = 0.1
_NVML_POWER_PERIOD = 1.0
_DEFAULT_PERIOD = 0.1


@dataclass(frozen=True)
class Sensor:
    """One thing that measures power; exactly one of ``read_joules`` and ``read_watts`` is there.

    Attributes:
        name: unique on this machine.
        covers: what its figure holds.
        misses: what its figure does not hold.
        period: seconds between two new values, or over which a value is averaged.
        read_joules: the state of a counter; None if it does not answer any more.
        read_watts: power now; None if it does not answer any more.
        wrap: joules at which the counter begins at zero again; None if it is not known to.
    """

    name: str
    covers: str
    misses: str
    period: float
    read_joules: Read | None = None
    read_watts: Read | None = None
    wrap: float | None = None

    def joules_between(self, before: float, after: float) -> float | None:
        """What a counter counted between two states, at most one wrap apart; None if it was set back."""
        if after >= before:
            return after - before
        return None if self.wrap is None else after - before + self.wrap


def sensors(root: Path = Path("/")) -> tuple[Sensor, ...]:
    """Every sensor that answers.

    Args:
        root: the folder that holds ``sys``. NVIDIA's driver is asked whatever it is.
    """
    found = [*_rapl(root), *_rails(root), *_hwmon(root), *_nvml()]
    return tuple(s for s in found if (s.read_joules or s.read_watts or _none)() is not None)


def absent(root: Path = Path("/")) -> list[str]:
    """One line for each kind of sensor that is not in :func:`sensors`, and why."""
    kinds = {
        "RAPL": (_rapl, _no_rapl(root)),
        "INA rails": (_rails, f"no chip with voltage and current pairs (ina*) in /{_HWMON}"),
        "hwmon": (_hwmon, f"no power*_input, power*_average or energy*_input that answers in /{_HWMON}"),
        "NVML": (lambda _: _nvml(), "no NVIDIA driver with its management library, or no GPU that tells"),
    }
    answering = {sensor.name for sensor in sensors(root)}
    return [
        f"{kind}: absent: {reason}"
        for kind, (find, reason) in kinds.items()
        if not any(sensor.name in answering for sensor in find(root))
    ]


def _none() -> None:
    return None


def _file(path: Path, unit: float) -> Read:
    def read() -> float | None:
        value = read_number(path)
        return None if value is None else value * unit

    return read


def _rapl(root: Path) -> Iterator[Sensor]:
    for zone in sorted((root / _RAPL).glob("intel-rapl:*")):
        name = read_text(zone / "name")
        kind = next((kind for kind in _ZONES if name.startswith(kind)), None)
        if kind is None:
            continue
        covers, misses = _ZONES[kind]
        number = zone.name.removeprefix("intel-rapl:")
        yield Sensor(
            name=f"rapl {name} ({number})",  # every package calls its memory "dram"
            covers=covers,
            misses=misses,
            period=_RAPL_PERIOD,
            read_joules=_file(zone / "energy_uj", 1e-6),
            wrap=_file(zone / "max_energy_range_uj", 1e-6)(),
        )


def _no_rapl(root: Path) -> str:
    counters = list((root / _RAPL).glob("intel-rapl:*/energy_uj"))
    if any(map(_denied, counters)):
        return (
            "permission: since 2020 the kernel shows the counters to root only; "
            "run as root, or: sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
        )
    if counters:
        return f"no package, dram or psys zone that answers in /{_RAPL}"
    return f"no intel-rapl zone in /{_RAPL} (another processor, a virtual machine, or no driver)"


def _denied(path: Path) -> bool:
    try:
        path.read_text()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _chips(root: Path) -> Iterator[tuple[str, Path]]:
    """(name, folder) of each hwmon chip, by number."""
    folders = (root / _HWMON).glob("hwmon*")
    for folder in sorted(folders, key=lambda f: (len(f.name), f.name)):
        yield read_text(folder / "name") or folder.name, folder


def _rails(root: Path) -> Iterator[Sensor]:
    """INA chips that give volts and amperes, channel by channel: the sensors that jtop shows on a Jetson."""
    for chip, folder in _chips(root):
        if not chip.startswith("ina") or any(folder.glob("power*_input")):
            continue
        # The fourth current is the sum of three, the fourth to sixth voltages are those of the shunts.
        for current in sorted(folder.glob("curr[123]_input")):
            channel = _channel(current)
            label = read_text(folder / f"in{channel}_label")
            if label == "NC":  # not connected
                continue
            name = label or f"channel {channel}"
            yield _sensor(name, chip, folder, read_watts=_product(folder / f"in{channel}_input", current))


def _product(millivolts: Path, milliamperes: Path) -> Read:
    def read() -> float | None:
        volts, amperes = read_number(millivolts), read_number(milliamperes)
        return None if volts is None or amperes is None else volts * amperes * 1e-6

    return read


def _hwmon(root: Path) -> Iterator[Sensor]:
    """Chips that give energy or power themselves; one sensor a channel, energy before power."""
    for chip, folder in _chips(root):
        counters = sorted(folder.glob("energy*_input"))
        for path in counters:
            label = read_text(folder / f"energy{_channel(path)}_label")
            yield _sensor(label or _label(folder, path), chip, folder, read_joules=_file(path, 1e-6))
        counted = {_channel(path) for path in counters}
        powers = {_channel(path): path for path in sorted(folder.glob("power*_average"))}
        powers.update({_channel(path): path for path in sorted(folder.glob("power*_input"))})
        for channel, path in sorted(powers.items()):
            if channel in counted:
                continue
            label = read_text(folder / f"power{channel}_label") or _label(folder, path)
            averaged = read_number(folder / f"power{channel}_average_interval")
            period = averaged / 1e3 if averaged and path.name.endswith("_average") else None
            yield _sensor(label, chip, folder, read_watts=_file(path, 1e-6), period=period)


def _label(folder: Path, path: Path) -> str:
    return read_text(folder / "label") or path.name.partition("_")[0]


def _channel(path: Path) -> str:
    return re.sub(r"\D", "", path.name)


def _sensor(
    label: str,
    chip: str,
    folder: Path,
    read_joules: Read | None = None,
    read_watts: Read | None = None,
    period: float | None = None,
) -> Sensor:
    interval = read_number(folder / "update_interval")  # milliseconds
    covers, misses = _RAILS.get(label, (f"what the chip {chip} watches as {label}", _UNKNOWN))
    return Sensor(
        name=f"{chip} {label} ({folder.name})",
        covers=covers,
        misses=misses,
        period=period or (interval / 1e3 if interval else _DEFAULT_PERIOD),
        read_joules=read_joules,
        read_watts=read_watts,
    )


def _nvml() -> Iterator[Sensor]:
    for index, gpu in enumerate(nvml_gpus()):
        counts = gpu.joules() is not None
        yield Sensor(
            name=f"nvml {gpu.name} ({index})",
            covers="the GPU, its memory and their circuitry",
            misses="the processor, its memory, and the rest of the machine",
            period=_NVML_ENERGY_PERIOD if counts else _NVML_POWER_PERIOD,
            read_joules=gpu.joules if counts else None,
            read_watts=None if counts else gpu.watts,
        )
