"""What runs in the toolchain's environment: builds, simulates and analyses, one request at a time.

Imports the standard library, NumPy and what the toolchain brings, and the two files beside it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from no_torch import leave_out_torch
from toolkit_form import ToolkitForm, toolkit_form

leave_out_torch()
os.chdir(tempfile.gettempdir())  # the toolkit leaves intermediate models where it is started

from rknn.api import RKNN  # noqa: E402

_opened: dict[str, Any] = {}
"""The model that ``run`` computes, compiled once: ``toolkit`` and ``batch``."""


def build(model: str, soc: str, out: str) -> dict[str, Any]:
    """Compile an ONNX; ``report`` is what the compiler printed, ``input`` the pixels' shape."""
    toolkit, form = _load(model, soc)
    with _printed() as report:
        _believe(toolkit.build(do_quantization=False), "build the model")
    _believe(toolkit.export_rknn(out), "write the engine")
    toolkit.release()
    return {"report": report.read_text(errors="replace"), "input": form.input}


def open_model(model: str, soc: str) -> dict[str, Any]:
    """Compile an ONNX for the simulator and keep it."""
    toolkit, form = _load(model, soc)
    with _printed() as report:
        _believe(toolkit.build(do_quantization=False), "build the model")
    _believe(toolkit.init_runtime(), "start the simulator")
    assert form.input is not None
    _opened.update(toolkit=toolkit, batch=form.input[0])
    return {"report": report.read_text(errors="replace"), "input": form.input}


def run(images: str, out: str) -> dict[str, Any]:
    """Logits (``.npy``, float32) of uint8 pixels (``.npy``) through the opened model."""
    pixels, batch = np.load(images), _opened["batch"]
    parts = [_infer(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    np.save(out, np.concatenate(parts).astype(np.float32))
    return {}


def load(model: str, soc: str) -> dict[str, Any]:
    """Only read a model, to hear whether the toolkit takes it."""
    toolkit, _ = _load(model, soc)
    toolkit.release()
    return {}


def _infer(pixels: np.ndarray) -> np.ndarray:
    outputs = _opened["toolkit"].inference(inputs=[pixels], data_format=["nhwc"])
    if not outputs:
        raise RuntimeError("the simulator gave no answer")
    return np.asarray(outputs[0])


def _load(model: str, soc: str) -> tuple[RKNN, ToolkitForm]:
    form = toolkit_form(onnx.load(model))
    toolkit = RKNN(verbose=True)
    normalise = {"mean_values": [form.mean], "std_values": [form.std]} if form.mean else {}
    with _last_line(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(form.model, str(path))
        _believe(toolkit.config(target_platform=soc, **normalise), f"take the target {soc}")
        _believe(toolkit.load_onnx(str(path)), "read the model")
    return toolkit, form


def _believe(status: int, verb: str) -> None:
    """The toolkit prints errors that are none, and tells by its return codes."""
    if status != 0:
        raise RuntimeError(f"RKNN-Toolkit2 could not {verb} (status {status})")


@contextlib.contextmanager
def _last_line() -> Iterator[None]:
    """The toolkit's exceptions hold whole tracebacks; their last line says what is wrong."""
    try:
        yield
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = lines[-1] if lines else type(error).__name__
        raise RuntimeError(text.removeprefix("ValueError:").strip()) from error


@contextlib.contextmanager
def _printed() -> Iterator[Path]:
    """A file of what native code and Python print in the block; it reaches the log as well."""
    path = Path(tempfile.mkstemp()[1])
    sys.stdout.flush()
    former = os.dup(1)
    with path.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
    try:
        with _last_line():
            yield path
    finally:
        sys.stdout.flush()
        os.dup2(former, 1)
        os.close(former)
        os.write(1, path.read_bytes())


HANDLERS = {"build": build, "open": open_model, "run": run, "load": load}
