"""One piece of work in a process of its own, which prints its peak resident memory in MiB as JSON.

``python -m benchmarks.child extract GRAPH IMAGES STORE``
``python -m benchmarks.child quantize GRAPH IMAGES COUNT METHOD OUT``
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import samples_of

_STATUS = Path("/proc/self/status")


def peak_mib() -> float:
    """Peak resident memory of this process."""
    # getrusage's ru_maxrss survives exec, so it can be the peak of the process that started this one
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    if found:
        return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _extract(graph: str, images: str, store: str) -> None:
    from benchmarks.models import OPENVINO
    from benchmarks.tiny import CONTRACT
    from edgetl.context import open_throughput
    from edgetl.store import Store
    from edgetl.transfer.features import extract

    samples = samples_of(Path(images))
    extract(lambda: open_throughput(Path(graph), OPENVINO), samples, CONTRACT, Store(Path(store)), {})


def _quantize(graph: str, images: str, count: str, method: str, out: str) -> None:
    from benchmarks.tiny import CONTRACT
    from edgetl import profiles
    from edgetl.backends import get_backend
    from edgetl.profiles import Recipe
    from edgetl.quantization.calibration import calibration_set

    calibration = calibration_set(samples_of(Path(images))[: int(count)], CONTRACT)
    recipe = Recipe.model_validate({"name": method, "title": method, "method": method})
    target = profiles.target("x86-onnxruntime")
    get_backend("onnxruntime").quantize(Path(graph), calibration, recipe, target, [], Path(out))


if __name__ == "__main__":
    work: dict[str, Callable[..., None]] = {"extract": _extract, "quantize": _quantize}
    work[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({"peak_mib": peak_mib()}))
