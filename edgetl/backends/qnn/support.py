"""Which nodes of a model the HTP does not take: the provider's own validator is asked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from edgetl.backends.onnxruntime.support import unknown_operators
from edgetl.backends.operators import read_onnx
from edgetl.backends.probing import form_of
from edgetl.backends.qnn.compiler import refused_nodes
from edgetl.backends.qnn.pixels import start_from_pixels
from edgetl.backends.qnn.quantizer import quantize
from edgetl.backends.qnn.soc import Soc
from edgetl.profiles import Target


def refused_by_htp(model: Path, soc: Soc, target: Target) -> list[str]:
    """A line for each node that an HTP refuses of a model, in the form that it would be compiled in.

    A foreign model gets a prefix; a float one for an INT8 target is quantized with noise for images. An
    operator that onnxruntime does not know never gets to the provider, and is refused for that.

    Raises:
        InputError: if the model takes something else than one image.
        BackendError: if it can't be quantized, or does not compile although no node is refused.
    """
    if lines := unknown_operators(read_onnx(model)):
        return lines
    form = form_of(model, quantize if target.precision == "int8" else None)
    with tempfile.TemporaryDirectory(prefix="edgetl-qnn-") as folder:
        asked = Path(folder) / "model.onnx"
        graph = onnx.load(form.path)
        start_from_pixels(graph)
        onnx.save(graph, asked)
        return refused_nodes(asked, soc, target.batch)
