"""Which operators of an ONNX an Ethos-U takes: asked of the converter and of Vela, by a compilation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.backends.ethosu.compiler import compile_apart
from edgetl.backends.ethosu.integer import read_integer
from edgetl.backends.ethosu.settings import VelaSettings

if TYPE_CHECKING:
    from edgetl.profiles import Target


def refused_operators(model: Path, target: Target) -> list[str]:
    """A line for each operator that the converter refuses or that Vela leaves to the CPU; none if all run.

    A foreign model gets a prefix, a float one is quantized, with noise for images: which operators are
    taken does not depend on the ranges.

    Raises:
        InputError: if the target's settings are wrong, or the model takes something else than one image.
        BackendError: if the quantizer or Vela fails.
    """
    from edgetl.backends.litert.convert import convert, refused
    from edgetl.backends.litert.quantizer import quantize
    from edgetl.backends.probing import form_of

    settings = VelaSettings.of(target)
    if refusals := refused(form_of(model).path):
        return refusals
    form = form_of(model, quantize)
    if refusals := refused(form.path, ends="integers"):
        return refusals
    with tempfile.TemporaryDirectory(prefix="edgetl-ethosu-") as work:
        integer = Path(work) / "model.tflite"
        integer.write_bytes(convert(form.path, ends="integers"))
        floats = [f"{line}: computes in float" for line in read_integer(integer).floats]
        return floats or list(compile_apart(integer, settings).left)
