from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.device import nvml
from edgetl.device.power import Sensor, absent, sensors
from edgetl.device.state import State, state_reader
from tests.backends.tensorrt.bindings import compile_library

ZONE = "sys/class/powercap/intel-rapl:{}/"
CHIP = "sys/class/hwmon/hwmon{}/"
CPU = "sys/devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The files decide, on a machine with an NVIDIA driver too."""
    monkeypatch.setattr(nvml, "_LIBRARY", "libno-such-driver.so")
    nvml.nvml_gpus.cache_clear()
    yield
    nvml.nvml_gpus.cache_clear()


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def zone(number: str, name: str, microjoules: int) -> dict[str, str]:
    folder = ZONE.format(number)
    facts = {"name": name, "energy_uj": str(microjoules), "max_energy_range_uj": "262143328850"}
    return {folder + key: value for key, value in facts.items()}


def chip(number: int, name: str, **files: str) -> dict[str, str]:
    return {CHIP.format(number) + key: value for key, value in {"name": name, **files}.items()}


ORIN_NX = chip(
    3,
    "ina3221",
    in1_label="VDD_IN",
    in1_input="5000",
    curr1_input="1400",
    in2_label="VDD_CPU_GPU_CV",
    in2_input="4900",
    curr2_input="500",
    in3_label="NC",
    in3_input="0",
    curr3_input="0",
    in7_label="sum of shunt voltages",
    curr4_input="1900",
    in4_input="14000",
)


def by_name(root: Path) -> dict[str, Sensor]:
    return {sensor.name: sensor for sensor in sensors(root)}


def test_rapl_zones_that_do_not_overlap(tmp_path: Path) -> None:
    files = {
        **zone("0", "package-0", 2_500_000),
        **zone("0:0", "core", 1_000_000),
        **zone("0:1", "dram", 700_000),
        **zone("1", "psys", 9_000_000),
        "sys/class/powercap/intel-rapl-mmio:0/name": "package-0",
        "sys/class/powercap/intel-rapl-mmio:0/energy_uj": "1",
    }
    found = by_name(tree(tmp_path, files))
    assert list(found) == ["rapl package-0 (0)", "rapl dram (0:1)", "rapl psys (1)"]
    package = found["rapl package-0 (0)"]
    assert package.read_joules is not None and package.read_watts is None
    assert package.read_joules() == 2.5
    assert package.wrap == pytest.approx(262143.32885)
    assert "cores" in package.covers and "DRAM" in package.misses
    assert [line.split(":")[0] for line in absent(tmp_path)] == ["INA rails", "hwmon", "NVML"]


def test_a_counter_wraps() -> None:
    counter = Sensor("a", "b", "c", 0.001, wrap=100.0)
    assert counter.joules_between(10.0, 12.0) == 2.0
    assert counter.joules_between(99.0, 3.0) == pytest.approx(4.0)
    assert Sensor("a", "b", "c", 0.001).joules_between(99.0, 3.0) is None


@pytest.mark.skipif(os.name != "posix", reason="needs Unix permissions")
def test_rapl_without_permission_says_so() -> None:
    folder = Path(tempfile.mkdtemp())  # not tmp_path: nobody but its owner may look into that
    try:
        folder.chmod(0o755)
        tree(folder, zone("0", "package-0", 1))
        (folder / ZONE.format(0) / "energy_uj").chmod(0o400 if os.geteuid() == 0 else 0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            assert sensors(folder) == ()
            assert absent(folder)[0].startswith("RAPL: absent: permission: since 2020")
        finally:
            os.seteuid(before)
    finally:
        shutil.rmtree(folder)


def test_rails_of_a_jetson(tmp_path: Path) -> None:
    found = by_name(tree(tmp_path, ORIN_NX))
    assert list(found) == ["ina3221 VDD_IN (hwmon3)", "ina3221 VDD_CPU_GPU_CV (hwmon3)"]
    module, cores = found.values()
    assert module.read_watts is not None and cores.read_watts is not None
    assert module.read_watts() == pytest.approx(7.0)
    assert cores.read_watts() == pytest.approx(2.45)
    assert module.covers == "the whole module"
    assert "some feed others" in cores.misses
    assert module.period == 0.1
    tree(tmp_path, {CHIP.format(3) + "update_interval": "40", CHIP.format(3) + "curr2_input": ""})
    assert [s.period for s in sensors(tmp_path)] == [0.04]
    assert cores.read_watts() is None


def test_hwmon_chips(tmp_path: Path) -> None:
    files = {
        **chip(0, "ina238", label="VIN", in1_input="12000", curr1_input="2000", power1_input="24000000"),
        **chip(1, "power_meter", power1_average="90000000", power1_average_interval="2000"),
        **chip(2, "ina228", power1_input="5000000", energy1_input="123000000"),
        **chip(10, "amdgpu", power1_average="8000000", power1_input="7000000", power1_label="PPT"),
        **chip(11, "coretemp", temp1_input="50000"),
        **chip(12, "broken", power1_input=""),
    }
    found = by_name(tree(tmp_path, files))
    watts = {name: s.read_watts() for name, s in found.items() if s.read_watts is not None}
    assert watts == {
        "ina238 VIN (hwmon0)": 24.0,
        "power_meter power1 (hwmon1)": 90.0,
        "amdgpu PPT (hwmon10)": 7.0,
    }
    assert found["power_meter power1 (hwmon1)"].period == 2.0
    assert "module and carrier" in found["ina238 VIN (hwmon0)"].covers
    counter = found["ina228 energy1 (hwmon2)"].read_joules
    assert counter is not None and counter() == 123.0
    assert [line.split(":")[0] for line in absent(tmp_path)] == ["RAPL", "INA rails", "NVML"]


def test_nothing_is_said_to_be_absent_in_one_line_each(tmp_path: Path) -> None:
    assert sensors(tmp_path) == ()
    lines = absent(tmp_path)
    assert [line.split(": absent: ")[0] for line in lines] == ["RAPL", "INA rails", "hwmon", "NVML"]
    assert not any("\n" in line for line in lines)
    tree(tmp_path, zone("0", "package-0", 5))
    (tmp_path / ZONE.format(0) / "energy_uj").unlink()
    (tmp_path / ZONE.format(0) / "energy_uj").mkdir()  # an error that is not about permission
    assert "that answers" in absent(tmp_path)[0]


NVML = """
#include <string.h>
static int gpus[2] = {0, 1};
int nvmlInit_v2(void) { return %d; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &gpus[index]; return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned size) {
    strncpy(name, *(int *)device ? "Old" : "New", size);
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *energy) {
    *energy = 5000000123ULL;
    return *(int *)device ? 3 : 0;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *power) { *power = 61500; return 0; }
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *clock) {
    *clock = type == 1 ? 1200 + *(int *)device : 7;
    return 0;
}
"""
ASK_NVML = """
import json
from pathlib import Path
from edgetl.device.power import absent, sensors
from edgetl.device.state import state_reader
root = Path("/no/such/root")
found = [[s.name, s.period, s.read_joules and s.read_joules(), s.read_watts and s.read_watts()]
         for s in sensors(root)]
print(json.dumps([found, absent(root), state_reader(root)().gpu_mhz]))
"""


def ask_nvml(folder: Path, source: str) -> list[object]:
    """What a process finds whose NVIDIA driver is that source."""
    compile_library(source, folder / "libnvidia-ml.so.1")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", ASK_NVML], env=environment, capture_output=True, text=True, check=True
    )
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_nvml_counts_energy_or_else_tells_power(tmp_path: Path) -> None:
    found, missing, mhz = ask_nvml(tmp_path, NVML % 0)
    assert found == [["nvml New (0)", 0.1, 5000000.123, None], ["nvml Old (1)", 1.0, None, 61.5]]
    assert not any(line.startswith("NVML") for line in missing)  # type: ignore[attr-defined]
    assert mhz == 1201.0


@pytest.mark.parametrize("source", [NVML % 9, "int nothing;"])
def test_a_driver_that_refuses_is_absent(tmp_path: Path, source: str) -> None:
    found, missing, mhz = ask_nvml(tmp_path, source)
    assert found == [] and mhz is None
    assert missing[-1].startswith("NVML: absent: no NVIDIA driver")  # type: ignore[index]


def test_state_is_read_anew_each_time(tmp_path: Path) -> None:
    files = {
        CPU.format(0): "1800000",
        CPU.format(4): "2400000",
        "sys/class/devfreq/17000000.gpu/cur_freq": "918000000",
        "sys/class/devfreq/dmc/cur_freq": "3200000000",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "61000",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
        "sys/class/thermal/thermal_zone1/temp": "66500",
        "sys/class/hwmon/hwmon0/name": "nvme",
        "sys/class/hwmon/hwmon0/temp1_input": "99000",
    }
    read = state_reader(tree(tmp_path, files))
    assert read() == State(2400.0, 918.0, 66.5)
    tree(tmp_path, {CPU.format(4): "1900000", "sys/class/thermal/thermal_zone1/temp": ""})
    assert read() == State(1900.0, 918.0, 61.0)


def test_state_of_a_machine_that_tells_little(tmp_path: Path) -> None:
    assert state_reader(tmp_path)() == State(None, None, None)
    tree(tmp_path, {"proc/cpuinfo": "processor: 0\ncpu MHz : 2100.5\n\nprocessor: 1\ncpu MHz : 1800"})
    assert state_reader(tmp_path)() == State(2100.5, None, None)
    tree(tmp_path, {"proc/cpuinfo": "processor: 0\ncpu MHz : 2100.5\nflags : sse hypervisor"})
    assert state_reader(tmp_path)() == State(None, None, None)
    tree(tmp_path, {"sys/class/drm/card0/gt_act_freq_mhz": "1150"})
    assert state_reader(tmp_path)().gpu_mhz == 1150.0


def test_this_machine_never_raises() -> None:
    nvml.nvml_gpus.cache_clear()
    kinds = {sensor.name.split()[0] for sensor in sensors()}
    assert len(kinds) + len(absent()) >= 4
    assert all((s.read_joules is None) != (s.read_watts is None) for s in sensors())
    assert state_reader()() is not None
