"""Which operators of an ONNX LiteRT takes: asked of the converter, and of LiteRT, which loads the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.backends.litert import ENGINE
from edgetl.backends.litert.convert import convert, refused
from edgetl.backends.litert.session import open_interpreter
from edgetl.backends.probing import form_of
from edgetl.errors import BackendError

if TYPE_CHECKING:
    from edgetl.profiles import Target


def refused_operators(model: Path, target: Target) -> list[str]:
    """A line for each node that the converter refuses, or LiteRT's own where it can't run what was converted.

    A foreign model gets a prefix; a float one for an INT8 target is quantized with noise for images.

    Raises:
        InputError: if the model takes something else than one image.
        BackendError: if it can't be quantized.
    """
    form = form_of(model)
    if lines := refused(form.path, batch=target.batch):
        return lines
    if target.precision == "int8":
        from edgetl.backends.litert.quantizer import quantize

        form = form_of(model, quantize)
        if lines := refused(form.path, batch=target.batch):
            return lines
    try:
        open_interpreter(Path(ENGINE), 1, convert(form.path, batch=target.batch))
    except BackendError as error:
        return [str(error)]
    return []
