"""What stands in for a board: TensorRT's real bindings on empty libraries, a driver with made-up GPUs.

The binding wheels are small and ordinary; only the libraries they load are not public. Wheels are fetched
once, into a cache of the tests' own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106")
"""JetPack 6's, JetPack 7's, and the newest."""

_LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
_SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
_MODULE = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
_DRIVER = """
#include <string.h>
typedef struct { const char *name; int major, minor, processors, integrated; size_t bytes; } Gpu;
static Gpu gpus[] = { %s };
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = %d; return 0; }
int cuDeviceGetCount(int *count) { *count = sizeof gpus / sizeof *gpus; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, gpus[device].name, size);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = gpus[device].bytes; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    Gpu gpu = gpus[device];
    switch (attribute) {
        case 16: *value = gpu.processors; return 0;
        case 18: *value = gpu.integrated; return 0;
        case 75: *value = gpu.major; return 0;
        case 76: *value = gpu.minor; return 0;
    }
    return 1;
}
"""


@dataclass(frozen=True)
class FakeGpu:
    """A GPU of the driver that ``fake_driver`` compiles."""

    name: str
    capability: str
    memory_mb: int
    processors: int
    integrated: bool

    def as_c(self) -> str:
        major, minor = self.capability.split(".")
        size = f"{self.memory_mb}UL << 20"
        return f'{{"{self.name}", {major}, {minor}, {self.processors}, {int(self.integrated)}, {size}}}'


ORIN = FakeGpu("Orin", "8.7", 7620, 8, True)


def fake_driver(folder: Path, gpus: Sequence[FakeGpu], cuda: str) -> None:
    """Compile a ``libcuda.so.1`` of that CUDA version into ``folder``; skips where there is no compiler."""
    major, minor = (int(part) for part in cuda.split("."))
    source = _DRIVER % (", ".join(gpu.as_c() for gpu in gpus), 1000 * major + 10 * minor)
    compile_library(source, folder / "libcuda.so.1")


@cache
def module_folder(version: str) -> Path:
    """A folder for PYTHONPATH and LD_LIBRARY_PATH that holds the module ``tensorrt`` of that version.

    Skips where the wheel can't be had or used.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("TensorRT's bindings are for Linux")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl-tests"
    final = home / f"tensorrt-{version}-{python}-{os.uname().machine}"
    if not final.is_dir():
        temporary = home / f".{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        try:
            _fetch(version, temporary)
            _furnish(version, temporary)
            temporary.rename(final)
        except OSError:
            if not final.is_dir():  # another run was first
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return final


def module_environment(version: str, *libraries: Path) -> dict[str, str]:
    """Environment variables under which ``import tensorrt`` is that version."""
    folder = module_folder(version)
    paths = [str(folder), *map(str, libraries), os.environ.get("LD_LIBRARY_PATH", "")]
    modules = [str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths)), "PYTHONPATH": ":".join(modules)}


def _fetch(version: str, folder: Path) -> None:
    if reason := _unreachable():
        pytest.skip(reason)
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    limits = ["--timeout", "15", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options, *limits, "--dest", str(folder)]
    done = subprocess.run(
        [*command, f"tensorrt-cu12-bindings=={version}"], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        pytest.skip(f"no wheel of TensorRT {version}'s bindings: {_error(done.stderr)}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)
    wheels[0].unlink()


@cache
def _unreachable() -> str | None:
    """Why no wheel can be fetched; asked once, because being offline takes time."""
    command = [sys.executable, "-m", "pip", "index", "versions", "tensorrt-cu12-bindings", "--quiet"]
    limits = ["--timeout", "10", "--retries", "0", "--disable-pip-version-check"]
    done = subprocess.run([*command, *limits], capture_output=True, text=True, check=False)
    return f"the package index is out of reach: {_error(done.stderr)}" if done.returncode else None


def _error(text: str) -> str:
    return next((line for line in text.splitlines() if line.startswith("ERROR")), "no answer")


def _furnish(version: str, folder: Path) -> None:
    """Empty libraries under the names the binding asks for, and the module as NVIDIA's wheel lays it out."""
    major = version.split(".", maxsplit=1)[0]
    source = "\n".join(f"void *{name}(void) {{ return 0; }}" for name in _SYMBOLS)
    for library in _LIBRARIES:
        compile_library(source, folder / f"{library}.so.{major}")
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt" / "__init__.py").write_text(_MODULE)


def compile_library(source: str, library: Path) -> None:
    """A shared library of C source; skips where there is no compiler."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        pytest.skip("needs a C compiler")
    command = [gcc, "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=source, text=True, check=True)
