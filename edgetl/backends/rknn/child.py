"""What the child in the toolchain's environment answers. Imports that environment's packages and the files
beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from child_toolkit import believe, compiled, infer  # type: ignore[import-not-found]
from toolkit_form import ToolkitForm, toolkit_form  # type: ignore[import-not-found]

_opened: dict[str, Any] = {}
"""The model that ``run`` computes, compiled once: ``toolkit`` and ``batch``."""


def build(model: str, soc: str, out: str) -> dict[str, Any]:
    """Compile an ONNX; ``report`` is what the compiler printed, ``input`` the pixels' shape."""
    form = toolkit_form(onnx.load(model))
    toolkit, report = compiled(form, soc)
    believe(toolkit.export_rknn(out), "write the engine")
    toolkit.release()
    return {"report": report, "input": form.input}


def open_model(model: str, soc: str) -> dict[str, Any]:
    """Compile an ONNX for the simulator and keep it; the answer is that of ``build``."""
    form = toolkit_form(onnx.load(model))
    toolkit, report = compiled(form, soc)
    believe(toolkit.init_runtime(), "start the simulator")
    assert form.input is not None
    _opened.update(toolkit=toolkit, batch=form.input[0])
    return {"report": report, "input": form.input}


def run(images: str, out: str) -> dict[str, Any]:
    """Logits (``.npy``, float32) of uint8 pixels (``.npy``) through the opened model."""
    pixels, batch = np.load(images), _opened["batch"]
    parts = [infer(_opened["toolkit"], pixels[at : at + batch]) for at in range(0, len(pixels), batch)]
    np.save(out, np.concatenate(parts))
    return {}


def check(model: str, soc: str, int8: bool) -> dict[str, Any]:
    """Why the toolkit refuses a model, or None; only compiling tells.

    Args:
        int8: quantize a float model by noise, since some SoCs compute nothing in float.
    """
    graph = onnx.load(model)
    quantized = any(node.op_type == "QuantizeLinear" for node in graph.graph.node)
    try:
        form = toolkit_form(graph)
        toolkit, _ = compiled(form, soc, _noise(form) if int8 and not quantized else None)
        toolkit.release()
    except Exception as error:  # whatever the toolkit raises is its refusal
        return {"refused": str(error)}
    return {"refused": None}


def analyse(reference: str, model: str, soc: str, images: str) -> dict[str, Any]:
    """The toolkit's error analysis of a quantized model: see ``child_analysis``."""
    from child_analysis import analysed_twin  # type: ignore[import-not-found]

    answer: dict[str, Any] = analysed_twin(Path(reference), Path(model), soc, np.load(images))
    return answer


def _noise(form: ToolkitForm) -> str:
    """A calibration list with one random tensor for each input."""
    names: list[str] = []
    for value in form.model.graph.input:
        shape = [dimension.dim_value or 1 for dimension in value.type.tensor_type.shape.dim]
        names.append(f"noise{len(names)}.npy")
        np.save(names[-1], np.random.default_rng(0).random(shape, np.float32))
    Path("noise.txt").write_text(" ".join(names) + "\n")
    return "noise.txt"


HANDLERS = {"build": build, "open": open_model, "run": run, "check": check, "analyse": analyse}
