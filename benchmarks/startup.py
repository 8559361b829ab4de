"""How long ``edgetl --help`` takes, and what ``import edgetl`` drags in."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

from benchmarks.goal import Goal
from benchmarks.rounds import alternate
from benchmarks.settings import CLI, Settings, python

AREA = "startup"
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "sklearn",
    "scipy",
    "numpy",
)


def goals(settings: Settings) -> Iterator[Goal]:
    count = 5 if settings.quick else 10
    figures = alternate(lambda: _seconds([*CLI, "--help"]), lambda: _seconds(["-c", "pass"]), count)
    yield Goal(
        AREA,
        "edgetl --help",
        statistics.median(figures.ours),
        "s",
        "a quarter of a second, wall-clock",
        "<=",
        0.25,
        min(figures.ours),
        max(figures.ours),
        f"min..max of {count}",
    )
    yield Goal(
        AREA,
        "edgetl --help",
        figures.ratio,
        "x",
        "python -c pass, in turn",
        low=min(figures.ratios),
        high=max(figures.ratios),
        interval=f"min..max of {count}",
    )
    loaded = json.loads(
        python(
            ["-c", f"import edgetl, json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"]
        )
    )
    yield Goal(
        AREA,
        "heavy packages that import edgetl loads",
        len(loaded),
        "",
        ", ".join(HEAVY),
        "<=",
        0,
        note=f"loaded: {', '.join(loaded)}" if loaded else "",
    )


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    python(arguments)
    return time.perf_counter() - start
