"""edgetl: from a folder of images to edge engines whose accuracy and latency were measured.

The verbs of the command line are functions here; each imports what it needs when it is called::

    import edgetl
    edgetl.run("images", targets=["x86-vnni"], out="out")
    edgetl.load("out/bundles/x86-vnni").predict("cat.jpg").label
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetl.api import (
        bench,
        build,
        compare,
        export,
        inspect,
        predict,
        quantize,
        rebuild,
        report,
        run,
        train,
    )
    from edgetl.bundle.runtime import Model, Prediction, load
    from edgetl.bundle.verify import verify
    from edgetl.contract import Contract
    from edgetl.errors import EdgetlError, InputError

_HOMES = {
    "run": "edgetl.api",
    "train": "edgetl.api",
    "export": "edgetl.api",
    "quantize": "edgetl.api",
    "build": "edgetl.api",
    "bench": "edgetl.api",
    "compare": "edgetl.api",
    "predict": "edgetl.api",
    "inspect": "edgetl.api",
    "rebuild": "edgetl.api",
    "report": "edgetl.api",
    "load": "edgetl.bundle.runtime",
    "Model": "edgetl.bundle.runtime",
    "Prediction": "edgetl.bundle.runtime",
    "verify": "edgetl.bundle.verify",
    "Contract": "edgetl.contract",
    "EdgetlError": "edgetl.errors",
    "InputError": "edgetl.errors",
}

__all__ = [
    "Contract",
    "EdgetlError",
    "InputError",
    "Model",
    "Prediction",
    "bench",
    "build",
    "compare",
    "export",
    "inspect",
    "load",
    "predict",
    "quantize",
    "rebuild",
    "report",
    "run",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
