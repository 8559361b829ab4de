"""A model in the form in which a toolchain gets it: to ask which operators it takes, for nothing else."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from edgetl.backends.base import Calibration
from edgetl.backends.operators import is_quantized, read_onnx
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix, has_prefix
from edgetl.profiles import Recipe

Quantize = Callable[[Path, Calibration, Recipe, Sequence[str], Path], None]
"""A backend's quantizer: model, calibration, recipe, names of nodes that stay in float, output."""

_SIDE = 224
"""Pixels a side of a foreign model that leaves its size open."""
_NOISE = Recipe(name="noise", title="which operators are taken does not depend on the ranges", images=1)
_KEPT = 4
"""Forms on the disk at once; a model has one in float and one for each quantizer."""


class Form:
    """A model made ready; the file ``path`` lasts as long as this object, at most until the process ends."""

    def __init__(self, name: str) -> None:
        folder = tempfile.mkdtemp(prefix="edgetl-form-")
        self.path = Path(folder) / name
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


_forms: dict[tuple[str, str, Quantize | None], Form] = {}


def form_of(model: Path, quantize: Quantize | None = None) -> Form:
    """A model with edgetl's prefix, and quantized by ranges of noise; made once, whoever asks for it again.

    Args:
        model: with the prefix or without, float or quantized; a quantized one is not quantized again.
        quantize: None for a model that stays as it is.

    Raises:
        InputError: if it takes something else than one image.
        BackendError: if it can't be read or quantized.
    """
    graph = read_onnx(model)
    wanted = None if is_quantized(graph) else quantize
    content = graph.SerializeToString(deterministic=True)  # weights from files beside it are inside
    key = hashlib.sha256(content).hexdigest(), model.name, wanted
    if key not in _forms:
        form = Form(model.name)
        if wanted is None:
            onnx.save(graph if has_prefix(graph) else graft_prefix(graph, any_contract(graph)), form.path)
        else:
            plain = form_of(model).path
            wanted(plain, _noise(plain), _NOISE, [], form.path)
        while len(_forms) >= _KEPT:
            del _forms[next(iter(_forms))]
        _forms[key] = form
    return _forms[key]


def any_contract(model: onnx.ModelProto) -> Contract:
    """A contract of a foreign model's size; what else it says does not decide over operators."""
    sources = model.graph.input
    sizes = [dim.dim_value for dim in sources[0].type.tensor_type.shape.dim] if sources else []
    height, width = (size or _SIDE for size in (sizes[2:] if len(sizes) == 4 else (_SIDE, _SIDE)))
    return Contract(height, width, "shorter", max(height, width), "bilinear", (0.5,) * 3, (0.5,) * 3)


def _noise(model: Path) -> Calibration:
    """One batch for a model with the prefix."""
    source = onnx.load(model, load_external_data=False).graph.input[0]
    batch, *image = (dim.dim_value for dim in source.type.tensor_type.shape.dim)
    pixels = np.random.default_rng(0).integers(0, 256, (batch or 1, *image), np.uint8)
    return Calibration(lambda: [pixels], 1)
