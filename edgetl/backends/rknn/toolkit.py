"""RKNN-Toolkit2 in its own environment, asked over a pipe."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import Float32, UInt8
from edgetl.backends.worker import Worker
from edgetl.errors import BackendError
from edgetl.toolchains import how_to_get, installed

TOOLCHAIN = "rknn"
_CHILD = Path(__file__).with_name("child.py")
_COMPILE_SECONDS = 1800.0
_IMAGE_SECONDS = 60.0


@dataclass(frozen=True)
class Toolkit:
    """A running child and a folder for the files it is told of."""

    worker: Worker
    folder: Path

    def build(self, model: Path, soc: str, out: Path) -> Mapping[str, Any]:
        """Compile ``model`` to ``out``: ``report`` (what was printed) and ``input`` (shape of the pixels)."""
        request = {"model": str(model.resolve()), "soc": soc, "out": str(out.resolve())}
        return self.worker.ask("build", timeout=_COMPILE_SECONDS, **request)

    def open(self, model: Path, soc: str) -> Mapping[str, Any]:
        """Compile ``model`` for the simulator; the answer is that of ``build``."""
        return self.worker.ask("open", timeout=_COMPILE_SECONDS, model=str(model.resolve()), soc=soc)

    def check(self, model: Path, soc: str, *, int8: bool) -> str | None:
        """Why the toolkit refuses ``model``; None if it takes it."""
        request = {"model": str(model.resolve()), "soc": soc, "int8": int8}
        refused: str | None = self.worker.ask("check", timeout=_COMPILE_SECONDS, **request)["refused"]
        return refused

    def analyse(self, reference: Path, model: Path, soc: str, images: UInt8) -> Mapping[str, Any]:
        """Error analysis of ``model``: ``table`` as printed, ``cosine`` of what was analysed to ``model``."""
        source = self.folder / "images.npy"
        np.save(source, images)
        models = {"reference": str(reference.resolve()), "model": str(model.resolve())}
        return self.worker.ask("analyse", timeout=_COMPILE_SECONDS, soc=soc, images=str(source), **models)

    def run(self, images: UInt8) -> Float32:
        """Logits of ``uint8 [N, H, W, 3]`` through the opened model."""
        source, sink = self.folder / "images.npy", self.folder / "logits.npy"
        np.save(source, images)
        request = {"images": str(source), "out": str(sink)}
        self.worker.ask("run", timeout=_IMAGE_SECONDS * len(images), **request)
        logits: Float32 = np.load(sink)
        return logits


@contextlib.contextmanager
def toolkit() -> Iterator[Toolkit]:
    """A child for the block.

    Raises:
        BackendError: if the toolchain is not installed.
    """
    python = installed(TOOLCHAIN)
    if python is None:
        raise BackendError(f"RKNN-Toolkit2 is not installed; {how_to_get(TOOLCHAIN)}")
    with tempfile.TemporaryDirectory(prefix="edgetl-rknn-", ignore_cleanup_errors=True) as folder:
        environment = {"TMPDIR": folder}
        with Worker("RKNN-Toolkit2", str(python), _CHILD, environment=environment) as worker:
            yield Toolkit(worker, Path(folder))
