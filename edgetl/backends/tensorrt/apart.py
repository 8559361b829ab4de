"""Each build in a process of its own.

TensorRT keeps state between builds: after a build that failed, TensorRT for RTX 1.7 was seen to make
another engine of the same model, with its INT8 convolutions in float. A native crash stays in the child, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.backends.tensorrt.binding import load_binding
from edgetl.backends.tensorrt.builder import Built, build_engine, supported
from edgetl.backends.tensorrt.layers import LayerReport
from edgetl.backends.tensorrt.settings import BuildSettings
from edgetl.errors import BackendError, EdgetlError

_ENGINE = "engine"
_ANSWER = "answer.json"


def build_apart(
    backend: str, model: Path, settings: BuildSettings, work: Path, cache: Path | None = None
) -> Built:
    """See :func:`edgetl.backends.tensorrt.builder.build_engine`.

    Args:
        work: an existing folder that the child's files go through; it is left as it was.
    """
    request = {"backend": backend, "settings": settings.to_dict(), "cache": str(cache) if cache else None}
    with tempfile.TemporaryDirectory(dir=work) as name:
        answer = _ask("build", model, request, Path(name))
        peak = answer["peak_mb"]
        return Built(
            engine=(Path(name) / _ENGINE).read_bytes(),
            layers=LayerReport.from_dict(answer["layers"]),
            peak_mb=tuple(peak) if peak else None,
            seconds=answer["seconds"],
            warnings=tuple(answer["warnings"]),
            network_layers=answer["network_layers"],
            fallback=tuple(answer["fallback"]),
        )


def refused_nodes(backend: str, model: Path, work: Path) -> list[str]:
    """See :func:`edgetl.backends.tensorrt.builder.supported`."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        refused: list[str] = _ask("parse", model, {"backend": backend}, Path(name))["refused"]
        return refused


def _ask(verb: str, model: Path, request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run one verb in a child.

    Raises:
        BackendError: what the child reported, or that it died.
    """
    module = f"{__package__}.apart"
    command = [sys.executable, "-m", module, verb, str(model.resolve()), str(folder), json.dumps(request)]
    paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads((folder / _ANSWER).read_text())
    except (OSError, ValueError) as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BackendError(
            f"{request['backend']} died building {model.name} (status {done.returncode}): {last}"
        ) from error
    if "error" in answer:
        raise BackendError(answer["error"])
    return answer


def _answer(verb: str, model: Path, folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    binding = load_binding(request["backend"])
    if verb == "parse":
        return {"refused": supported(binding, model)}
    cache = Path(request["cache"]) if request["cache"] else None
    built = build_engine(binding, model, BuildSettings.from_dict(request["settings"]), cache)
    (folder / _ENGINE).write_bytes(built.engine)
    return {
        "layers": built.layers.to_dict(),
        "peak_mb": built.peak_mb,
        "seconds": built.seconds,
        "warnings": built.warnings,
        "network_layers": built.network_layers,
        "fallback": built.fallback,
    }


def main(arguments: list[str]) -> None:
    """The child: ``VERB MODEL FOLDER REQUEST``; the answer goes into a file, whatever is printed."""
    verb, model, folder, request = arguments
    try:
        answer = _answer(verb, Path(model), Path(folder), json.loads(request))
    except EdgetlError as error:
        answer = {"error": str(error)}
    (Path(folder) / _ANSWER).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
