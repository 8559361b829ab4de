"""Which operators of an ONNX model TensorRT's parser refuses, in its own words."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgetl.backends.tensorrt.apart import refused_nodes
from edgetl.backends.tensorrt.binding import load_binding
from edgetl.backends.tensorrt.settings import BuildSettings
from edgetl.errors import BackendError, EdgetlError

_STAND_IN = "tensorrt-rtx"


def refused(backend: str, model: Path, settings: BuildSettings) -> list[str]:
    """A line for each node that is refused, and for an opset that the device's version does not parse.

    What TensorRT for RTX's parser refuses is taken to be refused by full TensorRT's too, where that is not
    installed; what it takes is not taken to be taken, for boards have older versions.

    Raises:
        BackendError: if the parser that can say so is not installed, or can't parse the file at all.
    """
    import onnx

    from edgetl.backends.tensorrt.dialect import opset

    newer, limit = opset(onnx.load(model, load_external_data=False)), settings.opset_limit
    too_new = (
        [f"opset {newer}: the device's TensorRT parses up to {limit}"] if limit and newer > limit else []
    )
    parser = _parser(backend)
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        lines = [line.removesuffix(": false") for line in refused_nodes(parser, model, Path(folder))]
    if parser != backend and not (too_new or lines):
        raise BackendError(
            "TensorRT for RTX's parser, made from the same public sources, takes every node; "
            f"{backend} itself is not installed here"
        )
    return too_new + lines


def _parser(backend: str) -> str:
    """The module whose parser answers: the backend's own, else the one of TensorRT for RTX."""
    try:
        load_binding(backend)
    except EdgetlError:
        load_binding(_STAND_IN)
        return _STAND_IN
    return backend
