"""The clock and the temperature now, cheap enough to be read between two stretches of a measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgetl.device.environment import CPU_SENSORS, read_cpuinfo, thermometers, virtual_machine
from edgetl.device.nvml import nvml_gpus
from edgetl.device.read import highest, read_number, to_number

# The junction's zone on a Jetson is the hottest of all its sensors.
_SENSORS = (*CPU_SENSORS, "gpu", "npu", "tj")
_ACCELERATORS = ("gpu", "npu", "ga10b", "gv11b", "mali")


@dataclass(frozen=True)
class State:
    """What a machine tells; None is what it does not.

    Attributes:
        mhz: clock of the fastest core; None in a virtual machine, which can't see it.
        gpu_mhz: clock of the fastest GPU or NPU.
        temperature_c: the hottest sensor of processor, GPU and NPU, degrees Celsius.
    """

    mhz: float | None
    gpu_mhz: float | None
    temperature_c: float | None


def state_reader(root: Path = Path("/")) -> Callable[[], State]:
    """A function that reads the state; the files are looked for once, here. Neither raises.

    Args:
        root: the folder that holds ``proc`` and ``sys``. NVIDIA's driver is asked whatever it is.
    """
    cores = list((root / "sys/devices/system/cpu/cpufreq").glob("policy[0-9]*/scaling_cur_freq"))
    accelerators = [
        device / "cur_freq"
        for device in (root / "sys/class/devfreq").glob("*")
        if any(name in device.name.lower() for name in _ACCELERATORS)
    ]
    graphics = list((root / "sys/class/drm").glob("card*/gt_act_freq_mhz"))
    heat_files = thermometers(root, _SENSORS)
    virtual = virtual_machine(root, read_cpuinfo(root)) is not None

    def read() -> State:
        mhz = highest(_scaled(cores, 1e-3))
        if mhz is None and not virtual:  # a guest is told the nominal clock, whatever the host does
            mhz = highest(to_number(block.get("cpu MHz", "")) for block in read_cpuinfo(root))
        gpus = nvml_gpus()
        clocks = [*_scaled(accelerators, 1e-6), *_scaled(graphics, 1.0), *(gpu.mhz() for gpu in gpus)]
        heat = [*_scaled(heat_files, 1e-3), *(gpu.temperature_c() for gpu in gpus)]
        return State(mhz, highest(clocks), highest(heat))

    return read


def _scaled(paths: Iterable[Path], unit: float) -> list[float | None]:
    values = map(read_number, paths)
    return [None if value is None else value * unit for value in values]
