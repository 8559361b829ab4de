"""RKNN-Toolkit2 with its return codes believed and its tracebacks cut to a line. Runs in its environment."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from no_torch import leave_out_torch  # type: ignore[import-not-found]
from toolkit_form import ToolkitForm  # type: ignore[import-not-found]

leave_out_torch()
os.chdir(tempfile.gettempdir())  # the toolkit leaves intermediate models where it is started

from rknn.api import RKNN  # noqa: E402

_ERROR_CLASS = re.compile(r"^[A-Za-z_][\w.]*: ", re.MULTILINE)


def configured(form: ToolkitForm, soc: str) -> RKNN:
    """A toolkit that has read a model."""
    toolkit = RKNN(verbose=True)
    normalise = {"mean_values": [form.mean], "std_values": [form.std]} if form.mean else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(form.model, str(path))
        with last_words():
            believe(toolkit.config(target_platform=soc, **normalise), f"take the target {soc}")
            believe(toolkit.load_onnx(str(path)), "read the model")
    return toolkit


def compiled(form: ToolkitForm, soc: str, dataset: str | None = None) -> tuple[RKNN, str]:
    """A toolkit with a built model, and what it printed meanwhile.

    Args:
        dataset: quantize the model by this list of files.
    """
    toolkit = configured(form, soc)
    with _printed() as report, last_words():
        believe(toolkit.build(do_quantization=dataset is not None, dataset=dataset), "build the model")
    return toolkit, report.read_text(errors="replace")


def infer(toolkit: RKNN, pixels: np.ndarray) -> np.ndarray:
    """Logits, float32, of one batch of pixels in the simulator."""
    outputs = toolkit.inference(inputs=[pixels], data_format=["nhwc"])
    if not outputs:
        raise RuntimeError("the simulator gave no answer")
    return np.asarray(outputs[0], np.float32)


def believe(status: int, verb: str) -> None:
    """The toolkit prints errors that are none, and tells by its return codes."""
    if status != 0:
        raise RuntimeError(f"could not {verb} (status {status})")


@contextlib.contextmanager
def last_words() -> Iterator[None]:
    """The toolkit's exceptions hold whole tracebacks; what follows the last class name says what is wrong."""
    try:
        yield
    except Exception as error:
        words = " ".join(_ERROR_CLASS.split(str(error))[-1].split())
        raise RuntimeError(words or type(error).__name__) from error


@contextlib.contextmanager
def _printed() -> Iterator[Path]:
    """A file of what native code and Python print in the block; it reaches the log as well."""
    handle, name = tempfile.mkstemp()
    sys.stdout.flush()
    former = os.dup(1)
    os.dup2(handle, 1)
    try:
        yield Path(name)
    finally:
        sys.stdout.flush()
        os.dup2(former, 1)
        os.close(former)
        os.close(handle)
        os.write(1, Path(name).read_bytes())
