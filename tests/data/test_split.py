from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from edgetl.data import Dataset, Sample, Skipped, load_dataset, split_samples
from edgetl.errors import InputError


def picture(path: Path, n: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (n % 256, n // 256, 7)).save(path, format="BMP")
    return path


def fill(root: Path, **counts: int) -> Path:
    """``counts[folder]`` distinct images each; ``__`` in a name stands for a slash."""
    n = 0
    for folder, count in counts.items():
        for i in range(count):
            picture(root / folder.replace("__", "/") / f"{i:03}.jpg", n)
            n += 1
    return root


def sides(dataset: Dataset) -> dict[str, str]:
    return {s.digest: name for name, samples in dataset.splits.items() for s in samples}


def message(root: Path, **options: float) -> str:
    with pytest.raises(InputError) as caught:
        load_dataset(root, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def made_up(seed: int) -> list[Sample]:
    """Three classes with copies inside and across."""
    rng = random.Random(seed)
    pool = [f"{n:064x}" for n in range(60)]
    samples = []
    for label in range(3):
        own = pool[label * 20 : label * 20 + rng.randint(3, 20)]
        digests = own + rng.choices(own, k=rng.randint(0, 8)) + rng.sample(pool, 2)
        samples += [Sample(f"{label}/{i}", label, d) for i, d in enumerate(digests)]
    return samples


def test_split_is_stratified_and_complete(tmp_path: Path) -> None:
    fill(tmp_path, a=10, b=33, c=2, d=57)
    for fraction in (0.1, 0.2, 0.35, 0.5, 0.99):
        data = load_dataset(tmp_path, val_fraction=fraction)
        val = Counter(data.classes[s.label] for s in data.val)
        for name, count in (("a", 10), ("b", 33), ("c", 2), ("d", 57)):
            assert val[name] == min(max(round(fraction * count), 1), count - 1)
        assert len(data.train) + len(data.val) == 102 and data.test == ()
        assert data.held_out == data.val and data.held_out_name == "val"


def test_no_image_on_two_sides_over_many_seeds() -> None:
    for seed in range(200):
        samples = made_up(seed)
        split = split_samples("abc", samples, val_fraction=0.25, seed=seed)
        train, val = ({s.digest for s in split[name]} for name in ("train", "val"))
        assert not train & val
        assert sorted(map(repr, split["train"] + split["val"])) == sorted(map(repr, samples))
        assert {s.label for s in split["train"]} == {s.label for s in split["val"]} == {0, 1, 2}
        in_classes = Counter(digest for digest, _ in {(s.digest, s.label) for s in samples})
        assert all(in_classes[digest] == 1 for digest in val)
        files = Counter(s.label for s in samples)
        held = Counter(s.label for s in split["val"])
        biggest = max(Counter((s.label, s.digest) for s in samples).values())
        assert all(abs(held[label] - 0.25 * files[label]) <= biggest for label in files)


def test_seed_decides_and_repeats(tmp_path: Path) -> None:
    fill(tmp_path, a=30, b=30)
    assert load_dataset(tmp_path, seed=3) == load_dataset(str(tmp_path), seed=3)
    assert len({load_dataset(tmp_path, seed=seed).digest for seed in range(5)}) == 5


def test_location_names_and_listing_order_do_not_matter(tmp_path: Path) -> None:
    first = fill(tmp_path / "first", a=12, b=9)
    second = tmp_path / "second" / "moved"
    files = sorted(first.glob("*/*"))
    random.Random(0).shuffle(files)
    for n, file in enumerate(files):
        target = second / file.parent.name / ("deeper" if n % 2 else "") / f"renamed{n}.dat"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    one, two = load_dataset(first), load_dataset(second)
    assert one.digest == two.digest
    for name in ("train", "val"):
        order = [[(s.label, s.digest) for s in data.splits[name]] for data in (one, two)]
        assert order[0] == order[1]


def test_adding_images_moves_few_others(tmp_path: Path) -> None:
    fill(tmp_path, a=100, b=100)
    before = sides(load_dataset(tmp_path))
    for n in range(5):
        picture(tmp_path / "a" / f"new{n}.jpg", 5000 + n)
    after = sides(load_dataset(tmp_path))
    assert len(after) == 205
    assert sum(before[digest] != after[digest] for digest in before) <= 5


def test_copies_in_a_class_stay_together_and_count_as_files(tmp_path: Path) -> None:
    fill(tmp_path, a=20, b=20)
    for file in sorted((tmp_path / "a").iterdir()):
        shutil.copy(file, file.with_suffix(".copy"))
    for seed in range(10):
        data = load_dataset(tmp_path, seed=seed)
        assert sum(s.label == 0 for s in data.val) == 8
        assert {s.digest for s in data.train}.isdisjoint(s.digest for s in data.val)
    assert len(data.train) + len(data.val) == 60 and data.notes == () and data.skipped == ()


def test_an_image_copied_many_times_does_not_fill_the_held_out_set(tmp_path: Path) -> None:
    fill(tmp_path, a=20, b=20)
    for n in range(80):
        shutil.copy(tmp_path / "a" / "000.jpg", tmp_path / "a" / f"copy{n}.jpg")
    for seed in range(20):
        assert sum(s.label == 0 for s in load_dataset(tmp_path, seed=seed).val) <= 20


def test_images_in_two_classes_train_and_are_noted(tmp_path: Path) -> None:
    fill(tmp_path, a=10, b=10, c=10)
    shutil.copy(tmp_path / "a" / "001.jpg", tmp_path / "b" / "same.jpg")
    one = load_dataset(tmp_path)
    assert one.notes == (
        "1 image occurs in more than one class, e.g. a/001.jpg and b/same.jpg: labels contradict",
    )
    for n in (2, 3):
        shutil.copy(tmp_path / "a" / f"00{n}.jpg", tmp_path / "c" / f"same{n}.jpg")
    for seed in range(10):
        data = load_dataset(tmp_path, seed=seed)
        doubled = [d for d, n in Counter(s.digest for s in data.train).items() if n == 2]
        assert len(doubled) == 3
    assert data.notes == (
        "3 images occur in more than one class, e.g. a/001.jpg and b/same.jpg: labels contradict",
    )


def test_given_splits_are_kept(tmp_path: Path) -> None:
    fill(tmp_path, train__x=5, train__y=4, valid__x=1, valid__y=2, test__x=3, test__y=3)
    data = load_dataset(tmp_path)
    assert [len(data.train), len(data.val), len(data.test)] == [9, 3, 6]
    assert data.held_out == data.test and data.held_out_name == "test"
    assert {s.path.relative_to(data.root).parts[0] for s in data.val} == {"valid"}


def test_test_without_val_is_the_held_out_set(tmp_path: Path) -> None:
    data = load_dataset(fill(tmp_path, train__x=5, train__y=4, test__x=2, test__y=2))
    assert (len(data.train), data.val, len(data.test), data.held_out_name) == (9, (), 4, "test")


def test_train_alone_is_split(tmp_path: Path) -> None:
    data = load_dataset(fill(tmp_path, train__x=10, train__y=10))
    assert (len(data.train), len(data.val), data.classes) == (16, 4, ("x", "y"))


def test_leaks_are_dropped_from_the_side_nearer_to_training(tmp_path: Path) -> None:
    fill(tmp_path, train__x=5, train__y=5, val__x=3, val__y=3, test__x=3, test__y=3)
    shutil.copy(tmp_path / "val/x/000.jpg", tmp_path / "train/x/leak1.jpg")
    shutil.copy(tmp_path / "test/y/001.jpg", tmp_path / "train/y/leak2.jpg")
    shutil.copy(tmp_path / "test/y/001.jpg", tmp_path / "val/y/leak3.jpg")
    data = load_dataset(tmp_path)
    assert data.skipped == (
        Skipped("train/x/leak1.jpg", "also in val/x/000.jpg"),
        Skipped("train/y/leak2.jpg", "also in test/y/001.jpg"),
        Skipped("val/y/leak3.jpg", "also in test/y/001.jpg"),
    )
    rule = "copies of held-out images, e.g."
    assert data.notes == (
        f"1 file dropped from val, {rule} val/y/leak3.jpg: also in test/y/001.jpg",
        f"2 files dropped from train, {rule} train/y/leak2.jpg: also in test/y/001.jpg",
    )
    assert [len(data.train), len(data.val), len(data.test)] == [10, 6, 6]
    assert len(sides(data)) == 22


def test_a_leak_under_another_label_is_dropped_too(tmp_path: Path) -> None:
    fill(tmp_path, train__x=3, train__y=3, val__x=2, val__y=2)
    shutil.copy(tmp_path / "val/x/000.jpg", tmp_path / "train/y/leak.jpg")
    data = load_dataset(tmp_path)
    assert data.skipped == (Skipped("train/y/leak.jpg", "also in val/x/000.jpg"),)
    assert data.notes[0].startswith("1 image occurs in more than one class") and len(data.notes) == 2


def test_skipped_files_are_listed_once_in_path_order(tmp_path: Path) -> None:
    fill(tmp_path, a=3, b=3)
    (tmp_path / "b" / "x.jpg").write_text("words")
    (tmp_path / "a" / "empty.png").touch()
    picture(tmp_path / "stray.png", 77)
    data = load_dataset(tmp_path)
    assert [entry.path for entry in data.skipped] == ["a/empty.png", "b/x.jpg", "stray.png"]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fraction_must_leave_both_sides(tmp_path: Path, fraction: float) -> None:
    expected = f"the validation fraction is {fraction}; give one between 0 and 1, such as 0.2"
    assert message(tmp_path, val_fraction=fraction) == expected


def test_class_without_usable_images(tmp_path: Path) -> None:
    fill(tmp_path, a=3, b=3)
    (tmp_path / "c").mkdir()
    assert message(tmp_path) == (
        "class folder 'c' has no usable image (0 files there); add images or remove the folder"
    )
    (tmp_path / "c" / "1.jpg").touch()
    (tmp_path / "c" / "2.jpg").write_text("words")
    assert message(tmp_path) == (
        "class folder 'c' has no usable image (2 skipped, e.g. c/1.jpg: empty file); "
        "add images or remove the folder"
    )


def test_class_with_too_few_distinct_images(tmp_path: Path) -> None:
    fill(tmp_path, a=3, b=1)
    shutil.copy(tmp_path / "b" / "000.jpg", tmp_path / "b" / "copy.jpg")
    (tmp_path / "b" / "zero.jpg").touch()
    assert message(tmp_path) == (
        "class 'b' has 1 distinct usable image(s) (1 skipped, e.g. b/zero.jpg: empty file); "
        "it needs at least 2, one to train on and one to hold out: add images or remove the class"
    )


def test_class_made_of_other_classes_images(tmp_path: Path) -> None:
    fill(tmp_path, a=4)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    picture(tmp_path / "b" / "own.jpg", 99)
    assert message(tmp_path) == (
        "every image of class 'a' is in another class too, so none can be held out; "
        "keep each image in one class only"
    )


def test_leaks_that_empty_a_class(tmp_path: Path) -> None:
    fill(tmp_path, train__x=3, val__x=2, val__y=2)
    shutil.copytree(tmp_path / "val/y", tmp_path / "train/y")
    assert message(tmp_path) == (
        "class 'y' has no usable image left in train "
        "(2 skipped, e.g. train/y/000.jpg: also in val/y/000.jpg); add images"
    )
