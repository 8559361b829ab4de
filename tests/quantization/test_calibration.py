from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgetl.contract import Contract, preprocess
from edgetl.data import Sample
from edgetl.errors import InputError
from edgetl.profiles import Recipe
from edgetl.quantization.calibration import calibration_set, choose


def test_stratified_takes_the_classes_in_turn(samples: tuple[Sample, ...], recipe: Recipe) -> None:
    counts = Counter(sample.label for sample in choose(samples, recipe))
    assert counts == {0: 4, 1: 4, 2: 4}


def test_a_small_class_is_used_up_and_the_others_fill_in(samples: tuple[Sample, ...], recipe: Recipe) -> None:
    few = [sample for sample in samples if sample.label != 1 or sample is samples[0]]
    one = next(sample for sample in samples if sample.label == 1)
    chosen = choose([*(s for s in few if s.label != 1), one], recipe)
    assert len(chosen) == 12 and Counter(s.label for s in chosen)[1] == 1


@pytest.mark.parametrize("selection", ["stratified", "random"])
def test_depends_on_content_and_seed_only(
    selection: str, samples: tuple[Sample, ...], recipe: Recipe
) -> None:
    recipe = recipe.model_copy(update={"selection": selection})
    chosen = [sample.digest for sample in choose(samples, recipe)]
    moved = [replace(sample, file=f"/elsewhere/{sample.path.name}") for sample in samples[::-1]]
    assert [sample.digest for sample in choose(moved, recipe)] == chosen
    assert [sample.digest for sample in choose(samples, recipe, seed=1)] != chosen
    assert len(set(chosen)) == 12


def test_copies_count_once(samples: tuple[Sample, ...], recipe: Recipe) -> None:
    assert len(choose([samples[0]] * 5, recipe)) == 1


def test_fewer_images_than_asked_for(samples: tuple[Sample, ...], recipe: Recipe) -> None:
    assert len(choose(samples[:5], recipe)) == 5


def test_none_is_an_error(recipe: Recipe) -> None:
    with pytest.raises(InputError, match="no images"):
        choose([], recipe)


def test_every_pass_gives_the_same_images(samples: tuple[Sample, ...], contract: Contract) -> None:
    found = calibration_set(samples[:5], contract)
    assert found.count == 5
    for _ in range(2):
        images = list(found.batches())
        assert [image.shape for image in images] == [(1, 32, 32, 3)] * 5
        assert all(
            np.array_equal(image[0], preprocess(sample.path, contract))
            for image, sample in zip(images, samples, strict=False)
        )


def test_an_unreadable_image_is_named(
    tmp_path: Path, samples: tuple[Sample, ...], contract: Contract
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    with pytest.raises(InputError, match=r"bad\.png"):
        list(calibration_set([samples[0], replace(samples[1], file=str(bad))], contract).batches())
