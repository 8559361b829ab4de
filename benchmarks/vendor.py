"""OpenVINO's own ``benchmark_app``, run as its users run it: in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.settings import python
from edgetl.errors import EdgetlError

_APP = ("-c", "import sys; from openvino.tools.benchmark.main import main; sys.exit(main())")


def throughput(model: Path, seconds: int) -> float:
    """Images a second of a batch-1 float model, ``-hint throughput``."""
    return _figure(r"Throughput:\s+([\d.]+) FPS", model, seconds, "-hint", "throughput")


def median_latency(model: Path, seconds: int) -> float:
    """Median milliseconds of one synchronous inference of a float model, ``-hint latency -api sync``."""
    return _figure(r"Median:\s+([\d.]+) ms", model, seconds, "-hint", "latency", "-api", "sync")


def _figure(pattern: str, model: Path, seconds: int, *options: str) -> float:
    common = ("-m", str(model), "-d", "CPU", "-infer_precision", "f32", "-t", str(seconds))
    output = python([*_APP, *common, *options])
    found = re.search(pattern, output)
    if found is None:
        raise EdgetlError(f"benchmark_app printed no line like {pattern!r}")
    return float(found[1])
