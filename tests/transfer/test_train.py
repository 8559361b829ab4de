from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Dataset, Sample
from edgetl.errors import InputError
from edgetl.transfer.backbones import Backbone
from edgetl.transfer.saved import read_model, save_model
from edgetl.transfer.train import Trained, fit_on_engine, train


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny: Any, dataset: Dataset, contract: Contract
) -> Trained:
    from edgetl.store import Store

    weights = tmp_path_factory.mktemp("w") / "w.pth"
    weights.write_bytes(b"weights")
    source = Backbone("test_resnet", weights, "d" * 64)
    context = Context(Store(tmp_path_factory.mktemp("store")))
    return train(context, dataset, source, tiny.backbone, contract)[0]


@pytest.fixture
def folder(trained: Trained, dataset: Dataset, tmp_path: Path) -> Path:
    save_model(trained, dataset, tmp_path / "model", {"note": 1})
    return tmp_path / "model"


def test_coloured_pictures_are_told_apart(trained: Trained, dataset: Dataset) -> None:
    assert trained.labels == dataset.classes == ("blue", "green", "red")
    assert trained.fitted.metrics is not None and trained.fitted.metrics.accuracy.value >= 0.8
    assert trained.fitted.head.weight.shape == (3, 16) and trained.fitted.features.computed == 48


def test_training_again_does_no_work_and_gives_the_same(
    tiny: Any, dataset: Dataset, contract: Contract
) -> None:
    context = Context()
    first, _ = fit_on_engine(context, tiny.backbone, context.reference, contract, dataset)
    again, _ = fit_on_engine(context, tiny.backbone, context.reference, contract, dataset)
    assert again.features.computed == 0
    assert np.array_equal(first.head.weight, again.head.weight)
    assert first.head.cross_validation == again.head.cross_validation and first.head.l2 == again.head.l2
    assert (first.features_seconds, first.head_seconds) == (again.features_seconds, again.head_seconds)


def test_unreadable_images_leave_the_dataset(
    tiny: Any, dataset: Dataset, contract: Contract, tmp_path: Path
) -> None:
    bad = dataset.root / "red" / "bad.png"
    broken = replace(dataset, train=(*dataset.train, Sample(str(bad), 2, "e" * 64)))
    context = Context()
    with pytest.raises(InputError, match="cannot be read"):  # a file that is gone is no damaged image
        fit_on_engine(context, tiny.backbone, context.reference, contract, broken)
    bad.write_bytes(b"no picture")
    try:
        _, left = fit_on_engine(context, tiny.backbone, context.reference, contract, broken)
    finally:
        bad.unlink()
    assert left.train == dataset.train
    assert [item.path for item in left.skipped] == ["red/bad.png"]


def test_saved_and_read_again(folder: Path, trained: Trained, tiny: Any) -> None:
    found = read_model(folder)
    assert (found.contract, found.labels) == (trained.contract, trained.labels)
    assert np.array_equal(found.head.weight, trained.fitted.head.weight)
    assert np.array_equal(found.head.bias, trained.fitted.head.bias)
    assert found.head.cross_validation == trained.fitted.head.cross_validation
    assert found.backbone.read_bytes() == tiny.backbone.read_bytes()
    samples = found.samples()
    assert samples.dtype == np.uint8 and samples.shape[1:] == (32, 32, 3) and 0 < len(samples) <= 8


def test_saving_again_replaces_and_never_replaces_strangers(
    folder: Path, trained: Trained, dataset: Dataset, image_folder: Path
) -> None:
    save_model(trained, dataset, folder, {})
    read_model(folder)
    with pytest.raises(InputError, match="refusing to replace"):
        save_model(trained, dataset, image_folder, {})
    assert len(list(image_folder.glob("*/*.png"))) == 48


@pytest.mark.parametrize("name", ["backbone.onnx", "head.npz", "samples.npy"])
def test_altered_files_are_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match="altered"):
        read_model(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match="damaged"):
        read_model(folder)


def change(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update(fields)


@pytest.mark.parametrize(
    "damage",
    [
        change(schema="edgetl.model/2"),
        change(contract=None),
        change(labels=3),
        change(digests=None),
        change(cross_validation=3),
        lambda document: document.pop("schema"),
        lambda document: document.pop("l2"),
    ],
)
def test_damaged_facts_are_refused(folder: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "model.json").read_text())
    damage(document)
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        read_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff"])
def test_facts_that_are_none(folder: Path, data: bytes) -> None:
    (folder / "model.json").write_bytes(data)
    with pytest.raises(InputError):
        read_model(folder)


def test_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="edgetl train"):
        read_model(tmp_path)


def test_changed_weights_are_noticed(folder: Path) -> None:
    found = read_model(folder)
    assert found.weights_file is not None
    with pytest.raises(InputError, match="changed since"):
        found.source()
