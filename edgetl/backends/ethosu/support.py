"""Which operators of an ONNX an Ethos-U takes: asked of the converter and of Vela, by a compilation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetl.backends.base import Calibration
from edgetl.backends.ethosu.compiler import compile_apart
from edgetl.backends.ethosu.integer import read_integer
from edgetl.backends.ethosu.settings import VelaSettings

if TYPE_CHECKING:
    import onnx

    from edgetl.profiles import Target

_SIDE = 224
"""Pixels a side of a foreign model that leaves its size open."""


def refused_operators(model: Path, target: Target) -> list[str]:
    """A line for each operator that the converter refuses or that Vela leaves to the CPU; none if all run.

    A foreign model gets a prefix, a float one is quantized, with noise for images: which operators are
    taken does not depend on the ranges.

    Raises:
        InputError: if the target's settings are wrong, or the model takes something else than one image.
        BackendError: if the quantizer or Vela fails.
    """
    import onnx

    from edgetl.backends.litert.convert import convert, refused
    from edgetl.contract.onnx_prefix import has_prefix

    settings = VelaSettings.of(target)
    with tempfile.TemporaryDirectory(prefix="edgetl-ethosu-") as work:
        loaded = onnx.load(model)
        if not has_prefix(loaded):
            loaded, model = _with_prefix(loaded), Path(work) / model.name
            onnx.save(loaded, model)
        if refusals := refused(model):
            return refusals
        if not any(node.op_type == "QuantizeLinear" for node in loaded.graph.node):
            model = _quantized(model, loaded, target, Path(work))
        if refusals := refused(model, ends="integers"):
            return refusals
        integer = Path(work) / "model.tflite"
        integer.write_bytes(convert(model, ends="integers"))
        floats = [f"{line}: computes in float" for line in read_integer(integer).floats]
        return floats or list(compile_apart(integer, settings).left)


def _with_prefix(model: onnx.ModelProto) -> onnx.ModelProto:
    from edgetl.contract import Contract
    from edgetl.contract.onnx_prefix import graft_prefix

    dims = (
        [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
        if model.graph.input
        else []
    )
    height, width = (size or _SIDE for size in (dims[2:4] if len(dims) == 4 else (_SIDE, _SIDE)))
    side = max(height, width)
    return graft_prefix(model, Contract(height, width, "shorter", side, "bilinear", (0.5,) * 3, (0.5,) * 3))


def _quantized(model: Path, loaded: onnx.ModelProto, target: Target, work: Path) -> Path:
    from edgetl.backends.litert import LiteRtBackend
    from edgetl.profiles import Recipe

    height, width = (dim.dim_value for dim in loaded.graph.input[0].type.tensor_type.shape.dim[1:3])
    noise = np.random.default_rng(0).integers(0, 256, (2, 1, height, width, 3), np.uint8)
    recipe = Recipe(name="noise", title="which operators a model has", images=len(noise))
    out = work / "quantized.onnx"
    LiteRtBackend().quantize(model, Calibration(lambda: iter(noise), len(noise)), recipe, target, [], out)
    return out
