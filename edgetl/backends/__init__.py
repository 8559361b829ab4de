"""Engines behind four verbs; the registry imports a backend only when it is asked for."""

from __future__ import annotations

import functools
import os
import sys
from importlib import import_module, metadata

from edgetl.backends.base import Backend
from edgetl.errors import InputError

_BUILT_IN = {
    "openvino": "edgetl.backends.openvino:OpenVinoBackend",
    "onnxruntime": "edgetl.backends.onnxruntime:OnnxRuntimeBackend",
    "litert": "edgetl.backends.litert:LiteRtBackend",
    "ethosu": "edgetl.backends.ethosu:EthosUBackend",
    "qnn": "edgetl.backends.qnn:QnnBackend",
    "rknn": "edgetl.backends.rknn:RknnBackend",
    "tensorrt": "edgetl.backends.tensorrt:TensorRtBackend",
    "tensorrt-rtx": "edgetl.backends.tensorrt:TensorRtRtxBackend",
}
_GROUP = "edgetl.backends"

# Runtimes report their use to their makers, and leave identifiers in the user's home, unless they are told
# not to before they are imported. OpenVINO does without its reporter where that can't be imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def backend_names() -> list[str]:
    """Built-in backends and those of installed packages (entry-point group ``edgetl.backends``)."""
    return sorted(_BUILT_IN | _third_party())


def get_backend(name: str) -> Backend:
    """The backend called ``name``; its engine need not be installed.

    Raises:
        InputError: if there is none.
    """
    reference = _BUILT_IN.get(name) or _third_party().get(name)
    if reference is None:
        raise InputError(f"unknown backend {name!r}; known: {', '.join(backend_names())}")
    module, _, attribute = reference.partition(":")
    try:
        backend = getattr(import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise InputError(f"backend {name!r} can't be imported from {reference}: {error}") from error
    if not isinstance(backend, Backend):
        raise InputError(f"{reference} is not an edgetl backend")
    return backend


@functools.cache
def _third_party() -> dict[str, str]:
    """Reads the entry points of everything installed, which takes milliseconds: once a process."""
    return {entry.name: entry.value for entry in metadata.entry_points(group=_GROUP)}
