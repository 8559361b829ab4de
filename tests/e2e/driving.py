"""What the end-to-end tests drive: the command line in processes of its own, on drawn shapes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "square")
TARGETS = ("x86-vnni", "x86-onnxruntime")
CHOSEN = tuple(item for target in TARGETS for item in ("--target", target))
QUICK = ("--recipe", "quick", "--seconds", "0.5")
"""Options of a run whose figures nobody reads."""


@dataclass(frozen=True)
class Command:
    """Runs the command line in a process of its own, with a store of its own."""

    cache: Path

    def __call__(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.line(*arguments), env=self.environment(), capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"edgetl {' '.join(map(str, arguments))}: {done.returncode}\n{done.stderr}")
        return done

    @staticmethod
    def line(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "edgetl", *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "EDGETL_CACHE": str(self.cache)}


def draw(kind: str, seed: int, side: int = 64) -> Image.Image:
    """A shape somewhere on noise: easy, but not trivially separable."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 90, (side, side, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    x, y, r = (int(value) for value in (*rng.integers(18, side - 18, 2), rng.integers(8, 16)))
    colour = tuple(int(value) for value in rng.integers(120, 256, 3))
    if kind == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=3)
    elif kind == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), outline=colour, width=3)
    else:
        pen.line((x - r, y - r, x + r, y + r), fill=colour, width=3)
        pen.line((x - r, y + r, x + r, y - r), fill=colour, width=3)
    return image


def write_shapes(root: Path, count: int) -> Path:
    """``count`` PNGs of each class."""
    for label, kind in enumerate(CLASSES):
        (root / kind).mkdir(parents=True)
        for number in range(count):
            draw(kind, 1000 * label + number).save(root / kind / f"{number:03d}.png")
    return root


@dataclass(frozen=True)
class Run:
    """A finished ``edgetl run``."""

    out: Path
    results: dict[str, Any]
    process: subprocess.CompletedProcess[str]
    seconds: float = 0.0

    def bundle(self, target: str) -> Path:
        return self.out / "bundles" / target
