from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgetl.data import Dataset, Sample, Skipped
from edgetl.errors import InputError

ROOT = Path("/pictures")


def samples(split: str, *labelled: tuple[int, str]) -> tuple[Sample, ...]:
    return tuple(Sample(str(ROOT / split / "ab"[label] / f"{d}.png"), label, d) for label, d in labelled)


def dataset(**changes: object) -> Dataset:
    base = Dataset(
        root=ROOT,
        classes=("a", "b"),
        train=samples("train", (0, "d1"), (0, "d2"), (0, "d2"), (1, "d3"), (1, "d4")),
        val=samples("val", (0, "d5"), (0, "d6"), (1, "d7")),
        test=(),
        skipped=(Skipped("train/a/text.txt", "empty file"),),
        notes=("a note",),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_values_are_frozen_and_small() -> None:
    for value in (dataset(), Sample(str(ROOT), 0, "d"), Skipped("p", "r")):
        assert not hasattr(value, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)


def test_held_out_is_test_where_there_is_one() -> None:
    plain = dataset()
    assert plain.held_out is plain.val and plain.held_out_name == "val"
    tested = dataset(test=samples("test", (0, "d8"), (1, "d9")))
    assert tested.held_out is tested.test and tested.held_out_name == "test"


def test_digest_ignores_names_and_order() -> None:
    base = dataset()
    moved = tuple(dataclasses.replace(s, file=f"/else/{i}") for i, s in enumerate(base.train))
    same = dataset(root=Path("/else"), train=moved[::-1], skipped=(), notes=())
    assert same.digest == base.digest and len(base.digest) == 64


def test_digest_sees_classes_splits_labels_and_contents() -> None:
    base = dataset()
    others = [
        dataset(classes=("a", "c")),
        dataset(classes=("a", "b", "c")),
        dataset(train=base.val, val=base.train),
        dataset(val=(), test=base.val),
        dataset(train=base.train[1:]),
        dataset(train=(*base.train, base.train[0])),
        dataset(train=(dataclasses.replace(base.train[0], label=1), *base.train[1:])),
        dataset(train=(dataclasses.replace(base.train[0], digest="d0"), *base.train[1:])),
    ]
    digests = [base.digest, *(other.digest for other in others)]
    assert len(set(digests)) == len(digests)


def test_the_held_out_digest_sees_those_images_alone() -> None:
    base = dataset()
    assert dataset(train=base.train[1:]).held_out_digest == base.held_out_digest
    assert dataset(val=(), test=base.val).held_out_digest == base.held_out_digest
    others = [
        dataset(classes=("a", "c")),
        dataset(val=base.val[1:]),
        dataset(val=(dataclasses.replace(base.val[0], label=1), *base.val[1:])),
        dataset(test=base.train),
    ]
    assert len({base.held_out_digest, *(other.held_out_digest for other in others)}) == len(others) + 1


def test_without_drops_every_copy_and_lists_it() -> None:
    data = dataset().without({"d2": "damaged image", "d5": "truncated", "unknown": "never used"})
    assert [s.digest for s in data.train] == ["d1", "d3", "d4"]
    assert [s.digest for s in data.val] == ["d6", "d7"]
    assert data.skipped == (
        Skipped("train/a/d2.png", "damaged image"),
        Skipped("train/a/d2.png", "damaged image"),
        Skipped("train/a/text.txt", "empty file"),
        Skipped("val/a/d5.png", "truncated"),
    )
    assert data.notes == ("a note",) and data.digest != dataset().digest


def test_without_nothing_changes_nothing() -> None:
    assert dataset().without({}) == dataset()


def test_without_checks_the_sizes_again() -> None:
    with pytest.raises(InputError) as caught:
        dataset().without({"d7": "truncated"})
    assert str(caught.value) == (
        "class 'b' has no usable image left in val (1 skipped, e.g. val/b/d7.png: truncated); add images"
    )
    with pytest.raises(InputError) as caught:
        dataset().without({"d3": "truncated", "d7": "truncated"})
    assert str(caught.value) == (
        "class 'b' has 1 distinct usable image(s) (2 skipped, e.g. train/b/d3.png: truncated); "
        "it needs at least 2, one to train on and one to hold out: add images or remove the class"
    )


def test_without_never_swaps_the_held_out_set() -> None:
    tested = dataset(test=samples("test", (0, "d8"), (1, "d9")))
    with pytest.raises(InputError, match="class 'a' has no usable image left in test"):
        tested.without({"d8": "truncated", "d9": "truncated"})


def test_summary_is_json_with_counts() -> None:
    summary = json.loads(json.dumps(dataset().to_dict()))
    assert summary == {
        "root": "/pictures",
        "classes": ["a", "b"],
        "counts": {
            "train": {"total": 5, "classes": {"a": 3, "b": 2}},
            "val": {"total": 3, "classes": {"a": 2, "b": 1}},
        },
        "notes": ["a note"],
        "digest": dataset().digest,
        "held_out_digest": dataset().held_out_digest,
    }
