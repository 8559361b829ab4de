"""What a compiled context says of itself, read by QNN's own ``libQnnSystem.so``.

The structures are those of the SDK's ``QnnSystemInterface.h``, ``QnnSystemContext.h`` and
``HTP/QnnHtpSystemContext.h``. Runs in the child: standard library only.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

_BINARY_INFO = _GRAPH_INFO = 3
"""Versions of the structures that are understood here."""

_Version = c_uint32 * 3


class _Functions(ctypes.Structure):
    _fields_ = (
        ("create", ctypes.CFUNCTYPE(c_uint64, POINTER(c_void_p))),
        ("binary_info", c_void_p),
        ("metadata", ctypes.CFUNCTYPE(c_uint64, c_void_p, c_char_p, c_uint64, POINTER(c_void_p))),
        ("free", ctypes.CFUNCTYPE(c_uint64, c_void_p)),
    )


class _Interface(ctypes.Structure):
    _fields_ = (
        ("backend", c_uint32),
        ("provider", c_char_p),
        ("version", _Version),
        ("functions", _Functions),
    )


class _BinaryInfo(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("backend", c_uint64),
        ("build", c_char_p),
        ("core_version", _Version),
        ("backend_version", _Version),
        ("soc_version", c_char_p),
        ("blob_version", _Version),
        ("blob_size", c_uint64),
        ("context_tensors", c_uint32),
        ("tensors", c_void_p),
        ("graph_count", c_uint32),
        ("graphs", c_void_p),
        ("platform", c_void_p),
        ("settings_size", c_uint32),
        ("settings", c_void_p),
        ("soc_model", c_uint32),
    )


class _GraphInfo(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("name", c_char_p),
        ("input_count", c_uint32),
        ("inputs", c_void_p),
        ("output_count", c_uint32),
        ("outputs", c_void_p),
        ("updateable_count", c_uint32),
        ("updateable", c_void_p),
        ("settings_size", c_uint32),
        ("settings", c_void_p),
        ("first_op", c_uint32),
        ("last_op", c_uint32),
    )


class _GraphSettings(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("spill_fill_bytes", c_uint64),
        ("vtcm_bytes", c_uint32),
        ("optimization", c_uint32),
        ("dlbc", c_uint8),
        ("hvx_threads", c_uint64),
    )


class _ContextSettings(ctypes.Structure):
    _fields_ = (("version", c_uint32), ("arch", c_uint32))


def read_blob(library: Path, blob: bytes) -> dict[str, Any]:
    """Facts of a context binary; what this SDK's structures don't hold is missing.

    Args:
        library: ``libQnnSystem.so``.
    """
    system = ctypes.CDLL(str(library))
    interfaces, count = POINTER(POINTER(_Interface))(), c_uint32()
    if system.QnnSystemInterface_getProviders(byref(interfaces), byref(count)) or not count.value:
        raise RuntimeError(f"{library.name} offers no interface")
    functions = interfaces[0].contents.functions
    handle, found = c_void_p(), c_void_p()
    if functions.create(byref(handle)):
        raise RuntimeError(f"{library.name} makes no system context")
    try:
        if status := functions.metadata(handle, blob, len(blob), byref(found)):
            raise RuntimeError(f"{library.name} cannot read the context (error {status})")
        info = ctypes.cast(found, POINTER(_BinaryInfo)).contents
        return {"bytes": len(blob), **_context(info)}
    finally:
        functions.free(handle)


def _context(info: _BinaryInfo) -> dict[str, Any]:
    if info.version != _BINARY_INFO:
        return {}
    facts = {"sdk": info.build.decode(), "soc_model": info.soc_model, "graphs": _graphs(info)}
    if info.settings and info.settings_size >= ctypes.sizeof(_ContextSettings):
        facts["htp_arch"] = ctypes.cast(info.settings, POINTER(_ContextSettings)).contents.arch
    return facts


def _graphs(info: _BinaryInfo) -> list[dict[str, Any]]:
    graphs = ctypes.cast(info.graphs, POINTER(_GraphInfo))
    return [_settings(graphs[index]) for index in range(info.graph_count)]


def _settings(graph: _GraphInfo) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": graph.name.decode()}
    if graph.version == _GRAPH_INFO and graph.settings:
        settings = ctypes.cast(graph.settings, POINTER(_GraphSettings)).contents
        names = ("spill_fill_bytes", "vtcm_bytes", "hvx_threads")
        facts |= {name: getattr(settings, name) for name in names}
    return facts
