"""A process that may die: loads damaged engines, or goes without the packages that a backend needs.

Reads one request (JSON) from standard input and writes an answer a line, each after ``MARK``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

MARK = "edgetl-conformance "
_HEAVY = ("torch", "onnx", "nncf", "pydantic", "edgetl.transfer", "edgetl.exporting", "edgetl.quantization")
_ALLOWED = {"edgetl", "numpy", "PIL", "pydantic", "pydantic_core", "annotated_types", "typing_extensions"}
_ALLOWED |= {"typing_inspection", "tomli", "onnx", "google", "ml_dtypes"}


def main() -> None:
    request = json.loads(sys.stdin.read())
    verb = {"load": _load, "missing": _missing}[request["verb"]]
    verb(request)


def _load(request: dict[str, Any]) -> None:
    import numpy as np

    from edgetl.backends import get_backend
    from edgetl.backends.base import EngineSpec

    spec = EngineSpec(**request["spec"])
    backend = get_backend(spec.backend)
    image = np.load(request["image"], allow_pickle=False)

    def run(path: Path) -> dict[str, Any]:
        session = backend.load(path, spec)
        logits = session.run(image)
        heavy = [name for name in _HEAVY if name in sys.modules]
        return {"logits": logits.tolist(), "heavy": heavy}

    for name in request["engines"]:
        _answer(_attempt(lambda: run(Path(name))))  # noqa: B023


def _missing(request: dict[str, Any]) -> None:
    """Everything but edgetl's own requirements is gone from here on."""
    from edgetl.backends import get_backend
    from edgetl.backends.base import Calibration, EngineSpec
    from edgetl.profiles import Recipe, Target

    spec = EngineSpec(**request["spec"])
    backend = get_backend(spec.backend)
    sys.meta_path.insert(0, _Missing())
    folder = Path(request["folder"])
    target = Target(**request["target"])
    none = Calibration(lambda: (), 0)
    recipe = Recipe(name="none", title="none")

    def availability() -> dict[str, Any]:
        found = backend.available()
        return {"ok": found.ok, "reason": found.reason}

    def attempts() -> dict[str, Any]:
        model, out = Path(request["model"]), folder / "out.onnx"
        return {
            "load": _attempt(lambda: _done(backend.load(Path(request["engine"]), spec))),
            "quantize": _attempt(lambda: _done(backend.quantize(model, none, recipe, target, (), out))),
            "build": _attempt(lambda: _done(backend.build(model, target, folder))),
        }

    _answer({**_attempt(availability), "verbs": attempts()})


def _done(result: object) -> dict[str, Any]:
    return {"done": type(result).__name__}


class _Missing(MetaPathFinder):
    """Finds the standard library, edgetl with what it requires, onnx, the backend's own package; no more."""

    def __init__(self) -> None:
        loaded = {name.partition(".")[0] for name in sys.modules}  # listing backends took these
        self._allowed = {*_ALLOWED, *loaded, *sys.stdlib_module_names}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        del path, target
        top = fullname.partition(".")[0]
        if top in self._allowed:
            return None
        raise ModuleNotFoundError(f"No module named {top!r}", name=top)


def _attempt(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from edgetl.errors import BackendError, MissingDependencyError

    try:
        return action()
    except Exception as error:
        ours = isinstance(error, BackendError | MissingDependencyError)
        return {"error": type(error).__name__, "said": str(error), "ours": ours}


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(f"\n{MARK}{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
