"""Whether memory stays the same when the number of images grows: peaks of processes of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import data, tiny
from benchmarks.goal import Goal
from benchmarks.models import backbone
from benchmarks.settings import Settings, python

AREA = "memory"
TOLERANCE = 10.0


def goals(settings: Settings) -> Iterator[Goal]:
    few, many = (1000, 5000) if settings.quick else (2000, 50000)
    folder = settings.folder("memory")
    model = backbone(settings)
    small, large = (_extraction(settings, model.ir, folder / "images", count) for count in (few, many))
    yield _goal(
        f"extraction's peak memory, {many:,} images", small, large, f"{few:,} images", "EfficientNet-Lite0"
    )

    graph = tiny.write(folder / "tiny.onnx")
    images, few, many = folder / "calibration", 100, 300 if settings.quick else 1000
    data.distinct_jpegs(images, many)
    for method in ("minmax", "percentile"):
        settings.say(f"onnxruntime {method} with {few} and {many} images")
        small, large = (_calibration(graph, images, count, method, folder) for count in (few, many))
        what = f"onnxruntime {method} calibration's peak memory, {many:,} images"
        yield _goal(what, small, large, f"{few:,} images", "a network of two convolutions")


def _goal(what: str, few: float, many: float, against: str, network: str) -> Goal:
    return Goal(
        AREA,
        f"{what}, differs by",
        abs(many / few - 1) * 100,
        "%",
        f"{against}, each in a process of its own; {network}",
        "<=",
        TOLERANCE,
        note=f"{many:.0f} MiB against {few:.0f}",
    )


def _extraction(settings: Settings, graph: Path, images: Path, count: int) -> float:
    settings.say(f"extraction of {count:,} images")
    data.distinct_jpegs(images, count)
    store = images.with_name("store")
    peak = _peak("extract", str(graph), str(images), str(store))
    shutil.rmtree(images)
    shutil.rmtree(store)
    return peak


def _calibration(graph: Path, images: Path, count: int, method: str, folder: Path) -> float:
    return _peak("quantize", str(graph), str(images), str(count), method, str(folder / "int8.onnx"))


def _peak(*arguments: str) -> float:
    peak: float = json.loads(python(["-m", "benchmarks.child", *arguments]))["peak_mib"]
    return peak
