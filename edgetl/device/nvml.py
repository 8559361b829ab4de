"""NVIDIA GPUs' energy, power, clock and temperature, asked of the driver's management library (NVML)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_NAME_BYTES = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE in nvml.h
# values of nvmlClockType_t and nvmlTemperatureSensors_t in nvml.h
_CLOCK_SM = 1
_TEMPERATURE_GPU = 0


@dataclass(frozen=True)
class NvmlGpu:
    """One GPU; each method is None where the GPU or its driver does not tell."""

    name: str
    _library: Any = field(repr=False)
    _handle: ctypes.c_void_p = field(repr=False)

    def joules(self) -> float | None:
        """Energy since the driver was loaded (Volta and later), counted in millijoules."""
        return _scaled(self._ask("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong()), 1e-3)

    def watts(self) -> float | None:
        """Power now; on GPUs since Ampere the average of the last second."""
        return _scaled(self._ask("nvmlDeviceGetPowerUsage", ctypes.c_uint()), 1e-3)

    def mhz(self) -> float | None:
        """Clock of the multiprocessors."""
        return _scaled(self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint(), _CLOCK_SM), 1.0)

    def temperature_c(self) -> float | None:
        """Temperature of the chip."""
        return _scaled(self._ask("nvmlDeviceGetTemperature", ctypes.c_uint(), _TEMPERATURE_GPU), 1.0)

    def _ask(self, function: str, answer: Any, *arguments: int) -> int | None:
        try:
            status = getattr(self._library, function)(self._handle, *arguments, ctypes.byref(answer))
        except AttributeError:  # an older driver
            return None
        return None if status else int(answer.value)


def _scaled(value: int | None, unit: float) -> float | None:
    return None if value is None else value * unit


@cache
def nvml_gpus() -> tuple[NvmlGpu, ...]:
    """The machine's GPUs in NVML's order; asked once a process. Empty without a GPU or its driver."""
    try:
        return tuple(_gpus(ctypes.CDLL(_LIBRARY)))
    except (OSError, AttributeError):
        return ()


def _gpus(library: Any) -> Iterator[NvmlGpu]:
    _require(library.nvmlInit_v2())
    count = ctypes.c_uint()
    _require(library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    for index in range(count.value):
        handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(_NAME_BYTES)
        _require(library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)))
        _require(library.nvmlDeviceGetName(handle, name, _NAME_BYTES))
        yield NvmlGpu(name.value.decode(errors="replace"), library, handle)


def _require(status: int) -> None:
    if status:
        raise OSError(f"NVML answers with error {status}")
