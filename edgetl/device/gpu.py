"""NVIDIA GPUs as their driver describes them: libcuda is asked, without a CUDA context or a toolkit."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

_DRIVER = "libcuda.so.1"
# values of CUdevice_attribute in cuda.h
_MULTIPROCESSORS = 16
_INTEGRATED = 18
_CAPABILITY = (75, 76)
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: as the driver says it; every Jetson Orin says ``Orin``.
        compute_capability: as in ``8.7``.
        memory_mb: all of its memory, MiB; an integrated GPU shares it with the processor.
        multiprocessors: number of them.
        integrated: part of the system's chip, as on a Jetson.
        driver: highest CUDA version the driver serves, as in ``13.0``.
    """

    name: str
    compute_capability: str
    memory_mb: int
    multiprocessors: int
    integrated: bool
    driver: str


@cache
def gpus() -> tuple[Gpu, ...]:
    """GPUs this process may use, in CUDA's order; asked once a process. Empty without a GPU or its driver."""
    try:
        return tuple(_ask(ctypes.CDLL(_DRIVER)))
    except (OSError, AttributeError):
        return ()


def _ask(cuda: Any) -> Iterator[Gpu]:
    _require(cuda.cuInit(0))
    version, count = ctypes.c_int(), ctypes.c_int()
    _require(cuda.cuDriverGetVersion(ctypes.byref(version)))
    _require(cuda.cuDeviceGetCount(ctypes.byref(count)))
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    for index in range(count.value):
        device, memory = ctypes.c_int(), ctypes.c_size_t()
        name = ctypes.create_string_buffer(_NAME_BYTES)
        _require(cuda.cuDeviceGet(ctypes.byref(device), index))
        _require(cuda.cuDeviceGetName(name, _NAME_BYTES, device))
        _require(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
        major, minor = (_attribute(cuda, number, device) for number in _CAPABILITY)
        yield Gpu(
            name=name.value.decode(errors="replace"),
            compute_capability=f"{major}.{minor}",
            memory_mb=memory.value // 2**20,
            multiprocessors=_attribute(cuda, _MULTIPROCESSORS, device),
            integrated=bool(_attribute(cuda, _INTEGRATED, device)),
            driver=driver,
        )


def _attribute(cuda: Any, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _require(cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device))
    return value.value


def _require(status: int) -> None:
    if status:
        raise OSError(f"the CUDA driver answers with error {status}")
