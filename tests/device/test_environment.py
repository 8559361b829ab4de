from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgetl.device.environment import environment, fingerprint, pace

X86 = (
    "processor\t: {}\nmodel name\t: Test CPU @ 3.00GHz\ncpu MHz\t\t: 1200.500\n"
    "flags\t\t: sse avx2 avx512f amx_int8{}\n\n"
)
ARM = "processor\t: {}\nFeatures\t: fp asimd asimddp i8mm\nCPU implementer\t: 0x41\nCPU part\t: {}\n\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def quiet_x86(**more: str) -> dict[str, str]:
    cpu = "sys/devices/system/cpu"
    return {
        "proc/cpuinfo": "".join(X86.format(i, "") for i in range(8)),
        "proc/self/status": "Name:\tpython\nCpus_allowed_list:\t0-2,5",
        "proc/meminfo": "MemTotal:  8388608 kB\nMemAvailable: 4194304 kB",
        "proc/loadavg": "0.10 0.20 0.30 1/100 1234",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Test OS 1"',
        **{f"{cpu}/cpu{i}/topology/thread_siblings_list": f"{i % 4},{i % 4 + 4}" for i in range(8)},
        f"{cpu}/cpufreq/policy0/scaling_governor": "performance",
        f"{cpu}/cpufreq/policy0/scaling_cur_freq": "2900000",
        f"{cpu}/cpufreq/policy0/scaling_max_freq": "3000000",
        f"{cpu}/cpufreq/policy0/cpuinfo_max_freq": "3000000",
        "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
        "sys/class/thermal/thermal_zone0/temp": "51000",
        "sys/class/hwmon/hwmon1/name": "coretemp",
        "sys/class/hwmon/hwmon1/temp1_input": "53500",
        "sys/class/hwmon/hwmon2/name": "nvme",
        "sys/class/hwmon/hwmon2/temp1_input": "80000",
        "sys/class/dmi/id/sys_vendor": "Dell Inc.",
        **more,
    }


def test_facts_of_a_quiet_machine(tmp_path: Path) -> None:
    facts = environment(tree(tmp_path, quiet_x86()))
    assert facts["cpu"] == {
        "model": "Test CPU @ 3.00GHz",
        "logical": 8,
        "physical": 4,
        "usable": 4,
        "quota": None,
        "isa": ["avx2", "avx512f", "amx_int8"],
        "mhz": 2900.0,
        "max_mhz": 3000.0,
        "allowed_mhz": 3000.0,
        "governor": "performance",
    }
    assert facts["memory"] == {"total_mb": 8192.0, "available_mb": 4096.0, "limit_mb": None}
    assert facts["os"] == "Test OS 1"
    assert facts["temperature_c"] == 53.5
    assert facts["virtual"] is None
    assert facts["container"] is None
    assert facts["load"] == [0.1, 0.2, 0.3]
    assert facts["warnings"] == []


def test_facts_of_a_big_little_board(tmp_path: Path) -> None:
    cores = [ARM.format(i, "0xd0b" if i > 3 else "0xd05") for i in range(6)]
    files = {"proc/cpuinfo": "".join(cores) + "Serial\t: 1\n", "proc/device-tree/model": "Test Board\0"}
    facts = environment(tree(tmp_path, files))
    assert facts["cpu"]["model"] == "Cortex-A55 + Cortex-A76"
    assert facts["cpu"]["logical"] == 6
    assert facts["cpu"]["isa"] == ["asimd", "dotprod", "i8mm"]
    assert facts["board"] == "Test Board"
    assert facts["cpu"]["mhz"] is None
    assert facts["cpu"]["governor"] is None


@pytest.mark.parametrize(
    ("files", "warning"),
    [
        ({"proc/loadavg": "4.50 1 1 1/9 9"}, "busy: load 4.50 on 8 cores"),
        (
            {"sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave"},
            "governor powersave: 2900 of 3000 MHz now",
        ),
        (
            {"sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2000000"},
            "throttled: at most 2000 of 3000 MHz allowed",
        ),
        (
            {"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 100000"},
            "throttled: CPU quota of 1.5 of 4 cores",
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n0::/",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            "throttled: CPU quota of 0.5 of 4 cores",
        ),
        (
            {
                "sys/class/thermal/cooling_device0/type": "Processor",
                "sys/class/thermal/cooling_device0/cur_state": "3",
                "sys/class/thermal/cooling_device0/max_state": "10",
            },
            "throttled: Processor cools at 3 of 10",
        ),
        (
            {
                "sys/class/power_supply/BAT0/type": "Battery",
                "sys/class/power_supply/BAT0/status": "Discharging",
                "sys/class/power_supply/BAT0/capacity": "62",
            },
            "on battery: BAT0 at 62 %",
        ),
        (
            {"sys/class/dmi/id/sys_vendor": "QEMU", "proc/stat": "cpu  50 0 20 10 0 0 0 20 0 0"},
            "virtual machine (QEMU): 20.0% of its time went to others",
        ),
        (
            {"proc/cpuinfo": "".join(X86.format(i, " hypervisor") for i in range(8))},
            "virtual machine (Dell Inc.): an unknown share of its time went to others",
        ),
    ],
)
def test_each_warning_and_its_size(tmp_path: Path, files: dict[str, str], warning: str) -> None:
    assert environment(tree(tmp_path, quiet_x86(**files)))["warnings"] == [warning]


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"},
        {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "800000 100000"},
        {
            "sys/class/power_supply/mouse/type": "Battery",
            "sys/class/power_supply/mouse/status": "Discharging",
            "sys/class/power_supply/mouse/scope": "Device",
        },
        {
            "sys/class/thermal/cooling_device0/type": "Fan",
            "sys/class/thermal/cooling_device0/cur_state": "1",
        },
        {"proc/loadavg": "garbage", "proc/stat": "", "proc/self/status": ""},
    ],
)
def test_no_false_alarm(tmp_path: Path, files: dict[str, str]) -> None:
    assert environment(tree(tmp_path, quiet_x86(**files)))["warnings"] == []


def test_memory_limits(tmp_path: Path) -> None:
    limited = {"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": str(2**30)}
    assert environment(tree(tmp_path, quiet_x86(**limited)))["memory"]["limit_mb"] == 1024.0
    unlimited = {
        "proc/self/cgroup": "3:memory:/a",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(2**63 - 4096),
    }
    assert environment(tree(tmp_path / "b", quiet_x86(**unlimited)))["memory"]["limit_mb"] is None


def test_containers(tmp_path: Path) -> None:
    assert environment(tree(tmp_path / "a", {".dockerenv": ""}))["container"] == "docker"
    group = {"proc/1/cgroup": "0::/kubepods/besteffort/pod1"}
    assert environment(tree(tmp_path / "b", group))["container"] == "kubepods"


def test_an_empty_tree_gives_fewer_facts_and_no_error(tmp_path: Path) -> None:
    facts = environment(tmp_path)
    assert facts["cpu"]["logical"] >= 1
    assert facts["cpu"]["isa"] == []
    assert facts["memory"]["total_mb"] is None
    assert len(fingerprint(facts)) == 12


def test_fingerprint_changes_with_what_decides_speed_only(tmp_path: Path) -> None:
    base = fingerprint(environment(tree(tmp_path / "a", quiet_x86())))
    busy = quiet_x86(**{"proc/loadavg": "9 9 9 1/1 1", "etc/os-release": 'PRETTY_NAME="Other"'})
    assert fingerprint(environment(tree(tmp_path / "b", busy))) == base
    pinned = quiet_x86(**{"proc/self/status": "Cpus_allowed_list:\t0"})
    assert fingerprint(environment(tree(tmp_path / "c", pinned))) != base
    other = quiet_x86(**{"proc/cpuinfo": "".join(X86.format(i, " avx_vnni") for i in range(8))})
    assert fingerprint(environment(tree(tmp_path / "d", other))) != base
    bigger = {**environment(tmp_path / "a"), "gpus": [{"name": "Orin"}]}
    assert fingerprint(bigger) != base


@pytest.mark.parametrize(
    ("file", "text"), [("scaling_governor", "powersave"), ("scaling_max_freq", "1200000")]
)
def test_pace_changes_with_the_clocks_that_are_allowed(tmp_path: Path, file: str, text: str) -> None:
    before = environment(tree(tmp_path / "a", quiet_x86()))
    policy = f"sys/devices/system/cpu/cpufreq/policy0/{file}"
    after = environment(tree(tmp_path / "b", quiet_x86(**{policy: text})))
    assert fingerprint(after) == fingerprint(before) and pace(after) != pace(before)


def test_this_machine() -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        facts = environment()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.03
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu"]["logical"] >= facts["cpu"]["usable"] >= 1
    assert facts["versions"]["numpy"]
    assert facts["python"].startswith("3.")
    assert fingerprint(facts) == fingerprint(environment())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_affinity_is_seen() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert environment()["cpu"]["usable"] == 1
    finally:
        os.sched_setaffinity(0, before)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from edgetl.device.environment import environment; environment(); "
        "print([m for m in ('numpy', 'openvino', 'onnxruntime', 'subprocess') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
