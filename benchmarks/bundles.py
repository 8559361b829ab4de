"""Bundles of the default backbone, made by ``edgetl run`` and ``edgetl build`` as users make them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import labelled
from benchmarks.settings import CLI, Settings, python

TARGETS = ("x86-vnni", "x86-onnxruntime")


@dataclass(frozen=True)
class Bundles:
    """INT8 bundles by target, the float twin of the first, and the images they came from."""

    folder: Path
    floating: Path
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
    out, floating = settings.work / "made", settings.work / "floating"
    if not floating.exists():
        settings.say("edgetl run, for bundles to measure")
        targets = [word for target in TARGETS for word in ("--target", target)]
        run = [*CLI, "run", str(images), *targets, "--recipe", "quick", "-o", str(out), "--json"]
        python(run, store=settings.work / "store")
        model, onnx = settings.work / "model", settings.work / "float.onnx"
        python([*CLI, "train", str(images), "-o", str(model)], store=settings.work / "store")
        python([*CLI, "export", str(model), "-o", str(onnx)], store=settings.work / "store")
        build = [*CLI, "build", str(onnx), "--target", TARGETS[0], "--precision", "f32", "-o", str(floating)]
        python(build, store=settings.work / "store")
    return Bundles(out / "bundles", floating, images, description)
