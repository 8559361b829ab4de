"""Doctor here and on boards: real TensorRT bindings on empty libraries, a driver with an Orin GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tensorrt.bindings import ORIN, FakeGpu, compile_library, fake_driver, module_environment

EXAMINE = """
import json, platform, sys
from pathlib import Path
machine, root, target, hidden = sys.argv[1:]
platform.machine = lambda: machine
sys.modules.update(dict.fromkeys(filter(None, hidden.split(',')), None))
from edgetl.doctor import examine, served
facts = examine(target, Path(root))
print(json.dumps({"served": served(facts), **facts}))
"""
L4T = {"6.2": "R36 (release), REVISION: 4.3", "7.2": "R39 (release), REVISION: 2.0"}
H100 = FakeGpu("NVIDIA H100 80GB HBM3", "9.0", 81559, 132, False)


def board(root: Path, release: str, *, free_mb: int = 5000, model: str = "Orin Nano", mode: int = 2) -> Path:
    """A folder with what a Jetson Orin's system tells of itself."""
    files = {
        "etc/nv_tegra_release": f"# {release}, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
        "var/lib/nvpmodel/status": f"pmode:{mode:04}",
        "proc/device-tree/model": f"NVIDIA Jetson {model} Engineering Reference Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
        "proc/meminfo": f"MemTotal: 7802000 kB\nMemAvailable: {free_mb * 1024} kB\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def examined(
    target: str,
    environment: Mapping[str, str],
    *,
    machine: str = "aarch64",
    root: Path = Path("/"),
    hidden: str = "",
) -> tuple[dict[str, Any], list[str]]:
    """What doctor finds in a process of its own: all of it, and the target's findings as lines."""
    done = subprocess.run(
        [sys.executable, "-c", EXAMINE, machine, str(root), target, hidden],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts, [f"{item['topic']}: {item['text']}" for item in facts["targets"][0]["findings"]]


@pytest.fixture
def no_gpu(tmp_path: Path) -> dict[str, str]:
    """A driver without a GPU, whatever this machine has."""
    folder = tmp_path / "driver"
    folder.mkdir()
    compile_library("int cuInit(unsigned flags) { return 100; }", folder / "libcuda.so.1")
    return {"LD_LIBRARY_PATH": str(folder)}


def driver(folder: Path, gpu: FakeGpu = ORIN, cuda: str = "13.0") -> Path:
    folder.mkdir(exist_ok=True)
    fake_driver(folder, [gpu], cuda)
    return folder


def starting(lines: list[str], start: str) -> list[str]:
    return [line for line in lines if line.startswith(start)]


@pytest.mark.parametrize(
    ("version", "jetpack", "cuda"), [("10.3.0", "6.2", "12.6"), ("10.16.1.11", "7.2", "13.2")]
)
def test_a_board_with_its_own_tensorrt(tmp_path: Path, version: str, jetpack: str, cuda: str) -> None:
    environment = module_environment(version, driver(tmp_path / "driver", cuda=cuda))
    facts, lines = examined("jetson-orin-nano", environment, root=board(tmp_path / "root", L4T[jetpack]))
    (row,) = facts["targets"]
    assert facts["served"] and row["buildable"] and not row["planned"]
    assert (row["accuracy"], row["latency"], row["why"]) == ("measured", True, None)
    assert facts["backends"][0]["versions"] == {"tensorrt": version}
    model = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit"
    assert starting(lines, f"ready: board: {model}, JetPack {jetpack} (Jetson Linux 3")
    assert f"ready: path: engines are built by the Python module tensorrt {version}" in lines
    assert f"ready: version: TensorRT {version} is the one JetPack {jetpack} brings" in lines
    (gpu,) = starting(lines, "ready: GPU: Orin of compute capability 8.7, as jetson-orin-nano asks; 8 ")
    assert gpu.endswith(f"driver for CUDA {cuda}")
    assert starting(lines, "ready: memory: 5000 MB free, shared with the processor; the build may take 1024")
    assert starting(lines, "here: edgetl build BUNDLE builds for this GPU")
    assert not starting(lines, "there:") and not starting(lines, "note:")


@pytest.mark.parametrize(
    ("version", "yes", "no"),
    [
        ("10.3.0", "strong typing is optional", "parser knows the builder's settings"),
        ("10.16.1.11", "parser knows the builder's settings", "engines for absent GPUs"),
        ("11.4.0.106", "parser knows the builder's settings", "strong typing is optional"),
    ],
)
def test_the_features_are_the_modules_own(tmp_path: Path, version: str, yes: str, no: str) -> None:
    environment = module_environment(version, driver(tmp_path / "driver"))
    _, lines = examined("jetson-orin-nano", environment, root=board(tmp_path / "root", L4T["7.2"]))
    (features,) = starting(lines, "ready: features: yes to ")
    said_yes, said_no = features.split("; no to ")
    assert yes in said_yes and no in said_no


@pytest.mark.parametrize(
    ("version", "has_dla"), [("10.3.0", True), ("10.16.1.11", False), ("11.4.0.106", False)]
)
def test_a_release_without_the_accelerator(tmp_path: Path, version: str, has_dla: bool) -> None:
    environment = module_environment(version, driver(tmp_path / "driver"))
    root = board(tmp_path / "root", L4T["7.2"], model="AGX Orin")
    _, lines = examined("jetson-agx-orin-dla", environment, root=root)
    assert bool(starting(lines, "missing: TensorRT up to 10.7 or from 11.4.1 on:")) is not has_dla


def test_another_tensorrt_than_the_jetpacks_is_noted(tmp_path: Path) -> None:
    environment = module_environment("11.4.0.106", driver(tmp_path / "driver"))
    facts, lines = examined("jetson-orin-nano", environment, root=board(tmp_path / "root", L4T["7.2"]))
    assert facts["served"]
    (note,) = starting(lines, "note:")
    assert "JetPack 7.2 brings TensorRT 10.16, this is 11.4.0.106" in note


def test_a_release_that_is_not_known(tmp_path: Path) -> None:
    environment = module_environment("10.3.0", driver(tmp_path / "driver"))
    root = board(tmp_path / "root", "R36 (release), REVISION: 9.1")
    _, lines = examined("jetson-orin-nano", environment, root=root)
    assert "note: version: which TensorRT this JetPack brings is not known, this is 10.3.0" in lines


def test_little_memory_is_said(tmp_path: Path) -> None:
    environment = module_environment("10.3.0", driver(tmp_path / "driver"))
    root = board(tmp_path / "root", L4T["6.2"], free_mb=700)
    _, lines = examined("jetson-orin-nano", environment, root=root)
    assert starting(lines, "missing: memory: 700 MB free, shared with the processor, the build may take 1024")


def test_another_board_of_the_same_gpu(tmp_path: Path) -> None:
    environment = module_environment("10.3.0", driver(tmp_path / "driver"))
    root = board(tmp_path / "root", L4T["6.2"], model="AGX Orin", mode=0)
    facts, _ = examined("jetson-orin-nano", environment, root=root)
    (row,) = facts["targets"]
    assert row["buildable"] and not row["latency"] and "AGX Orin" in row["why"]
    assert "power mode 15W caps the clocks; MAXN_SUPER does not: sudo nvpmodel -m 2" in str(
        facts["environment"]["warnings"]
    )


def test_a_board_whose_tensorrt_is_not_seen(tmp_path: Path) -> None:
    environment = {"LD_LIBRARY_PATH": str(driver(tmp_path / "driver", cuda="12.6"))}
    root = board(tmp_path / "root", L4T["6.2"])
    _, lines = examined("jetson-orin-nano", environment, root=root, hidden="tensorrt")
    (missing,) = starting(lines, "missing: tensorrt is not installed")
    assert "--system-site-packages" in missing and "edgetl installs nothing by itself" in missing
    assert starting(lines, "here: once what is missing is there, edgetl build BUNDLE")
    assert not starting(lines, "there:")


@pytest.mark.parametrize("cuda", ["12.6", "13.0"])
def test_cuda_bindings_must_not_be_later_than_the_driver(tmp_path: Path, cuda: str) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = int(version("cuda-bindings").split(".")[0])
    except PackageNotFoundError:
        pytest.skip("cuda-bindings is not installed")
    environment = {"LD_LIBRARY_PATH": str(driver(tmp_path / "driver", cuda=cuda))}
    _, lines = examined("jetson-orin-nano", environment)
    late = starting(lines, f"missing: cuda-bindings for this driver (CUDA {cuda})")
    limit = int(cuda.split(".", maxsplit=1)[0]) + 1
    assert bool(late) == (installed >= limit)
    assert all(f"pip install 'cuda-bindings<{limit}'" in line for line in late)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer.so.10"),
        ("raise ZeroDivisionError('odd')", "odd"),
        ("def broken(:", "invalid syntax"),
        ("__version__ = '10.3.0'", "ILogger"),
    ],
)
def test_a_broken_module_is_a_line(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text(source)
    environment = {
        "LD_LIBRARY_PATH": str(driver(tmp_path / "driver")),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    facts, lines = examined("jetson-orin-nano", environment)
    assert not facts["backends"][0]["available"]
    assert any(line.startswith("missing:") and said in line for line in lines)


def test_a_tensorrt_from_before_jetpack_6_1(tmp_path: Path) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text("__version__ = '8.6.2'\nclass ILogger: pass\n")
    environment = {
        "LD_LIBRARY_PATH": str(driver(tmp_path / "driver", cuda="12.2")),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    root = board(tmp_path / "root", "R36 (release), REVISION: 3.0")
    _, lines = examined("jetson-orin-nano", environment, root=root)
    (old,) = starting(lines, "missing: TensorRT 10.3 or later")
    assert old.endswith("8.6.2 is too old; update the board to JetPack 6.1 or later")


def test_a_gpu_of_another_generation(tmp_path: Path) -> None:
    environment = {"LD_LIBRARY_PATH": str(driver(tmp_path / "driver", H100))}
    _, lines = examined("gpu-t4", environment, machine="x86_64")
    assert "missing: a GPU of compute capability 7.5: here is NVIDIA H100 80GB HBM3 of compute" in str(lines)


def test_planning_for_a_board_without_a_gpu(no_gpu: dict[str, str]) -> None:
    pytest.importorskip("onnxruntime")
    facts, lines = examined("jetson-orin-nano", no_gpu, machine="x86_64", hidden="tensorrt,tensorrt_rtx")
    (row,) = facts["targets"]
    assert facts["served"] and row["planned"] and not row["buildable"]
    assert row["accuracy"] == "simulated" and not row["latency"]
    (missing,) = starting(lines, "missing: tensorrt is not installed")
    assert "NVIDIA's own package index" in missing and missing.endswith("edgetl installs nothing by itself")
    assert "missing: a GPU of compute capability 8.7: there is no NVIDIA GPU or driver here" in lines
    assert "missing: the device: it is aarch64, this machine is x86_64" in lines
    assert any(line.startswith("here: quantize, refit") for line in lines)
    assert any(line.startswith("here: accuracy, simulated") for line in lines)
    (parser,) = starting(lines, "note: no check by TensorRT's ONNX parser")
    assert "pip install 'edgetl[tensorrt-rtx]'" in parser
    assert "there: copy the bundle to the device and run there: edgetl build BUNDLE" in lines
    assert any("no torch, no onnx, no compiler" in line for line in starting(lines, "there:"))


def test_nothing_can_be_done_without_the_toolchain(no_gpu: dict[str, str]) -> None:
    facts, lines = examined("rtx", no_gpu, machine="x86_64", hidden="tensorrt_rtx")
    assert not facts["served"]
    assert starting(lines, "missing: tensorrt_rtx is not installed; install it with: pip install 'edgetl[")


def command(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgetl", "doctor", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_the_findings_of_one_target(no_gpu: dict[str, str]) -> None:
    pytest.importorskip("onnxruntime")
    done = command("--target", "jetson-orin-nano", environment=no_gpu)
    assert done.returncode == 0 and not done.stderr
    assert "target     jetson-orin-nano: planned here and built on its device" in done.stdout
    assert "\n  missing  a GPU of compute capability 8.7" in done.stdout
    assert "\n  there    copy the bundle to the device" in done.stdout


def test_the_command_for_a_cpu_target_and_for_all(no_gpu: dict[str, str]) -> None:
    pytest.importorskip("onnxruntime")
    one = command("--target", "x86-onnxruntime", environment=no_gpu)
    assert "backend    onnxruntime: onnxruntime " in one.stdout and "  missing" not in one.stdout
    every = json.loads(command("--json", environment=no_gpu).stdout)
    rows = {row["name"]: row for row in every["targets"]}
    assert rows["x86-onnxruntime"]["findings"] == [] and rows["x86-onnxruntime"]["buildable"]
    assert rows["gpu-h100"]["findings"] and every["environment"]["gpus"] == []


def test_an_unknown_target_is_bad_usage(no_gpu: dict[str, str]) -> None:
    done = command("--target", "jetson-orin", environment=no_gpu)
    assert done.returncode == 2 and "did you mean jetson-orin-n" in done.stderr
