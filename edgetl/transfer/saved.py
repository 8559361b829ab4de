"""A trained model on disk: the backbone's graph, the head, a few sample images, and ``model.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import UInt8
from edgetl.contract import Contract, preprocess
from edgetl.data import Dataset
from edgetl.errors import InputError
from edgetl.files import atomic_folder, sha256_file
from edgetl.transfer.backbones import HUB, Backbone, resolve
from edgetl.transfer.head import Head
from edgetl.transfer.train import Trained, read_head

SCHEMA = "edgetl.model/1"
SAMPLES = 8
_BACKBONE = "backbone.onnx"
_HEAD = "head.npz"
_IMAGES = "samples.npy"
_TRAINED_ON = "trained_on.txt"
_FILES = (_BACKBONE, _HEAD, _IMAGES, _TRAINED_ON)
_FACTS = "model.json"


def save_model(trained: Trained, dataset: Dataset, out: Path, facts: Mapping[str, Any]) -> None:
    """Write a model folder; its samples are preprocessed held-out images, for the export's comparison."""
    head, held_out = trained.fitted.head, dataset.held_out
    trained_on = sorted({sample.digest for sample in dataset.train})
    with atomic_folder(out, _FACTS) as folder:
        (folder / _BACKBONE).write_bytes(trained.backbone.read_bytes())
        np.savez(folder / _HEAD, weight=head.weight, bias=head.bias)
        np.save(
            folder / _IMAGES,
            np.stack([preprocess(sample.path, trained.contract) for sample in held_out[:SAMPLES]]),
        )
        (folder / _TRAINED_ON).write_text("".join(f"{digest}\n" for digest in trained_on))
        digests = {name: sha256_file(folder / name) for name in _FILES}
        document = {
            "schema": SCHEMA,
            "contract": trained.contract.to_dict(),
            "labels": list(trained.labels),
            "backbone": trained.source.name,
            "weights": trained.source.digest,
            "weights_file": str(trained.source.weights.resolve()) if trained.source.weights else None,
            "l2": head.l2,
            "cross_validation": [list(step) for step in head.cross_validation],
            "digests": digests,
            **facts,
        }
        (folder / _FACTS).write_text(json.dumps(document, indent=1) + "\n")


@dataclass(frozen=True)
class SavedModel:
    """A model folder read back and checked."""

    folder: Path
    contract: Contract
    labels: tuple[str, ...]
    head: Head
    name: str
    weights: str
    weights_file: str | None

    @property
    def backbone(self) -> Path:
        return self.folder / _BACKBONE

    def samples(self) -> UInt8:
        """uint8 ``[n, H, W, 3]``."""
        images: UInt8 = np.load(self.folder / _IMAGES, allow_pickle=False)
        return images

    def trained_on(self) -> list[str]:
        """SHA-256 of the training images."""
        return (self.folder / _TRAINED_ON).read_text().split()

    def source(self) -> Backbone:
        """The backbone with the weights it was trained with.

        Raises:
            InputError: if the weights file is gone or has changed.
        """
        if self.weights_file is None:
            return resolve(self.name, HUB)
        recorded = Path(self.weights_file)
        source = resolve(self.name, recorded if recorded.is_file() else None)
        if source.digest != self.weights:
            raise InputError(
                f"the weights of {self.name} changed since {self.folder} was trained; train it again"
            )
        return source


def read_model(folder: Path) -> SavedModel:
    """Read a folder that :func:`save_model` wrote.

    Raises:
        InputError: if it is no model folder, of another schema, or was damaged.
    """
    path = folder / _FACTS
    if not path.is_file():
        raise InputError(
            f"{folder} is not a model folder (no {_FACTS}); make one with: edgetl train IMAGES -o {folder}"
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise InputError(f"{path} is not of schema {SCHEMA}; train the model again")
        for name in _FILES:
            if sha256_file(folder / name) != document["digests"][name]:
                raise InputError(f"{folder / name} was altered since the model was trained")
        return SavedModel(
            folder=folder,
            contract=Contract.from_dict(document["contract"]),
            labels=tuple(str(label) for label in document["labels"]),
            head=read_head(folder / _HEAD, document),
            name=str(document["backbone"]),
            weights=str(document["weights"]),
            weights_file=document["weights_file"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is damaged: {type(error).__name__}: {error}") from error
