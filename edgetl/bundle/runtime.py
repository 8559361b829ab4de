"""A bundle at work on the device: standard library, NumPy, Pillow and the engine's runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec, Float32, Session, failed
from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest
from edgetl.contract import preprocess
from edgetl.contract.image import Source
from edgetl.errors import BackendError, BundleError, EdgetlError


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        label: the most probable class.
        probability: its softmax probability (not calibrated).
        probabilities: by class name, most probable first.
    """

    label: str
    probability: float
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "probability": self.probability, "probabilities": self.probabilities}


class Model:
    """A loaded bundle."""

    def __init__(self, bundle: Path, manifest: Manifest) -> None:
        self.bundle = bundle
        self.manifest = manifest
        self.labels = manifest.labels
        self.contract = manifest.contract
        self.session = open_session(bundle, manifest)
        if self.session.input_shape != self.contract.input_shape:
            raise BundleError(
                f"{bundle}: the engine takes {self.session.input_shape}, "
                f"the contract says {self.contract.input_shape}"
            )

    def logits(self, source: Source) -> Float32:
        """``float32 [classes]`` of one picture.

        Raises:
            UnreadableImageError: if it can't be decoded.
            BundleError: if the engine has other outputs than the labels.
            BackendError: if it fails, or its answer is no number.
        """
        image = preprocess(source, self.contract)
        with runtime_errors("run", self.bundle / self.manifest.engine.file):
            row: Float32 = self.session.run(image[None])[0]
        if row.shape != (len(self.labels),):
            raise BundleError(
                f"{self.bundle}: the engine gives {list(row.shape)} outputs for {len(self.labels)} labels"
            )
        if not np.isfinite(row).all():
            raise BackendError(f"{self.bundle}: the engine's answer is not finite")
        return row

    def predict(self, source: Source) -> Prediction:
        """Classify one picture: a path, encoded bytes, Pillow image or ``uint8 [h, w, 3]`` RGB array.

        Raises:
            UnreadableImageError: if it can't be decoded.
        """
        return prediction(self.logits(source), self.labels)


def load(bundle: str | Path) -> Model:
    """Check a bundle's digests and load its engine.

    Raises:
        BundleError: if it is no bundle, or was altered.
        BackendError: if the engine can't be loaded here.
        MissingDependencyError: if the engine's runtime is not installed.
    """
    folder = Path(bundle)
    return Model(folder, check_files(folder))


def open_session(bundle: Path, manifest: Manifest) -> Session:
    """A session for a bundle whose files were checked."""
    return load_engine(bundle / manifest.engine.file, manifest.engine)


def load_engine(engine: Path, spec: EngineSpec) -> Session:
    """A session for an engine that may have been made to fail.

    Raises:
        BackendError: if it can't be loaded.
        MissingDependencyError: if its runtime is not installed.
    """
    backend = get_backend(spec.backend)
    with runtime_errors("load", engine):
        return backend.load(engine, spec)


@contextlib.contextmanager
def runtime_errors(verb: str, engine: Path) -> Iterator[None]:
    """Whatever a runtime throws at an engine that is not what it seems becomes one line.

    Raises:
        BackendError: in its place.
    """
    try:
        yield
    except EdgetlError:
        raise
    except Exception as error:  # runtimes' errors share no base class
        raise failed(verb, engine, error) from error


def prediction(logits: Float32, labels: Sequence[str]) -> Prediction:
    """Softmax over ``float32 [classes]`` with names."""
    exponentials = np.exp((logits - logits.max()).astype(np.float64))
    shares = exponentials / exponentials.sum()
    order = np.argsort(-shares, kind="stable")
    ranked = {labels[index]: float(shares[index]) for index in order}
    best = int(order[0])
    return Prediction(labels[best], float(shares[best]), ranked)
