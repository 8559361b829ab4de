"""Bundles of the default backbone, made by ``edgetl run`` and ``edgetl build`` as users make them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import labelled
from benchmarks.settings import CLI, Settings, python

TARGETS = ("x86-vnni", "x86-onnxruntime")


@dataclass(frozen=True)
class Bundles:
    """INT8 bundles by target, the first's twins, and the images they came from.

    Attributes:
        floating: the same network in float.
        other: the same network in INT8 with other ranges, as somebody would compare two recipes.
    """

    folder: Path
    floating: Path
    other: Path
    images: Path
    description: str

    def int8(self, target: str = TARGETS[0]) -> Path:
        return self.folder / target


def bundles(settings: Settings) -> Bundles:
    """Made once a run.

    Raises:
        EdgetlError: if edgetl fails.
    """
    images, description = labelled(settings)
    out, floating, other = (settings.work / name for name in ("made", "floating", "other"))
    if not floating.exists():
        settings.say("edgetl run, for bundles to measure")
        targets = [word for target in TARGETS for word in ("--target", target)]
        for recipe, words, place in (("quick", targets, out), ("percentile", targets[:2], other)):
            run = [*CLI, "run", str(images), *words, "--recipe", recipe, "-o", str(place), "--json"]
            python(run, store=settings.work / "store")
        model, onnx = settings.work / "model", settings.work / "float.onnx"
        python([*CLI, "train", str(images), "-o", str(model)], store=settings.work / "store")
        python([*CLI, "export", str(model), "-o", str(onnx)], store=settings.work / "store")
        build = [*CLI, "build", str(onnx), "--target", TARGETS[0], "--precision", "f32", "-o", str(floating)]
        python(build, store=settings.work / "store")
    return Bundles(out / "bundles", floating, other / "bundles" / TARGETS[0], images, description)
