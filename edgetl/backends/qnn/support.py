"""Which nodes of a model the HTP does not take: the provider's own validator is asked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

from edgetl.backends.base import Calibration
from edgetl.backends.qnn.compiler import refused_nodes
from edgetl.backends.qnn.pixels import start_from_pixels
from edgetl.backends.qnn.soc import Soc
from edgetl.profiles import Recipe, Target

_ANY_RANGES = Recipe(name="noise", title="ranges don't matter to the validator", images=1)


def refused_by_htp(model: Path, soc: Soc, target: Target) -> list[str]:
    """A line for each node that an HTP refuses of a model, in the form that it would be compiled in.

    A float model for an INT8 target is quantized first, with ranges of noise.

    Raises:
        BackendError: if it can't be quantized, or compiles although no node is refused.
    """
    with tempfile.TemporaryDirectory(prefix="edgetl-qnn-") as folder:
        asked = Path(folder) / "model.onnx"
        graph = onnx.load(model)
        if target.precision == "int8" and not _is_quantized(graph):
            from edgetl.backends.qnn.quantizer import quantize

            quantize(model, _noise(graph), _ANY_RANGES, [], asked)
        else:
            start_from_pixels(graph)
            onnx.save(graph, asked)
        return refused_nodes(asked, soc, target.batch)


def _is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _noise(model: onnx.ModelProto) -> Calibration:
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    shape = [1, *(dimension.dim_value for dimension in list(dimensions)[1:])]
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Calibration(lambda: [image], 1)
