"""Which images a bench counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.benchmark import _dataset
from edgetl.bundle.write import TRAINED_ON
from edgetl.data import load_dataset
from edgetl.errors import InputError
from tests.e2e.driving import CLASSES, write_shapes


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / TRAINED_ON).write_text("")
    return folder


def test_those_that_it_was_not_trained_on(bundle: Path, tmp_path: Path) -> None:
    images = write_shapes(tmp_path / "images", 5)
    trained = load_dataset(images).train
    (bundle / TRAINED_ON).write_text("\n".join(sample.digest for sample in trained))
    found, notes = _dataset(bundle, images, CLASSES)
    assert found.held_out_digest == load_dataset(images).held_out_digest
    assert notes == [f"{len(trained)} images were left out: the bundle was trained on them"]


def test_those_that_were_set_aside_for_it(bundle: Path, tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for picture in write_shapes(tmp_path / split, count).glob("*/*.png"):
            place = tmp_path / "images" / split / picture.parent.name / picture.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture.read_bytes() + split.encode())  # no copies of one another
    dataset = load_dataset(tmp_path / "images")
    found, notes = _dataset(bundle, tmp_path / "images", CLASSES)
    assert found.test == dataset.test and found.held_out_digest == dataset.held_out_digest
    assert notes == ["accuracy was measured on the images in test/ only: they were set aside for that"]


def test_a_folder_of_nothing_else_than_it_was_trained_on(bundle: Path, tmp_path: Path) -> None:
    images = write_shapes(tmp_path / "images", 3)
    dataset = load_dataset(images)
    everything = (*dataset.train, *dataset.val)
    (bundle / TRAINED_ON).write_text("\n".join(sample.digest for sample in everything))
    with pytest.raises(InputError, match="not seen"):
        _dataset(bundle, images, CLASSES)
