"""Where the benchmarks' pictures come from, each with a description for the goal's line."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.settings import Settings
from edgetl.data import Sample, load_dataset
from edgetl.data.digits import write_digits
from edgetl.errors import InputError
from edgetl.files import sha256_file

VARIABLE = "EDGETL_BENCH_IMAGES"
PAIR = ("cat", "dog")
TRAIN, VAL = (122, 122), (77, 76)
"""Images of the two classes: 397, split as in the dataset of torchvision's transfer-learning tutorial."""


def given_images(option: Path | None) -> Path | None:
    """The folder of the option, else that of the environment, else None.

    Raises:
        InputError: if it is no folder.
    """
    chosen = option or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if chosen is not None and not chosen.is_dir():
        raise InputError(f"{chosen} is not a folder; give one of class folders with --images or {VARIABLE}")
    return chosen


def photographs(settings: Settings) -> tuple[Path, str]:
    """397 pictures of two classes as ``FOLDER/{train,val}/class``, made once a run.

    Raises:
        InputError: if no two classes of the user's folder have enough images.
    """
    out = settings.work / "photographs"
    if settings.images is None:
        description = "397 crops from scikit-learn's two sample photographs (no --images)"
        if not out.exists():
            _write_crops(out)
        return out, description
    names, by_class = _two_classes(settings.images)
    if not out.exists():
        for name, samples, train, val in zip(names, by_class, TRAIN, VAL, strict=True):
            for number, sample in enumerate(samples[: train + val]):
                split = "train" if number < train else "val"
                path = out / split / name / f"{number:03}{sample.path.suffix.lower()}"
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(sample.path, path)
    return out, f"397 photographs, {names[0]} and {names[1]} of {settings.images.name}"


def _two_classes(root: Path) -> tuple[list[str], list[list[Sample]]]:
    dataset = load_dataset(root)
    distinct = {sample.digest: sample for split in dataset.splits.values() for sample in split}
    grouped: dict[str, list[Sample]] = {name: [] for name in dataset.classes}
    for digest in sorted(distinct):  # by content: an order that has nothing to do with the splits
        grouped[dataset.classes[distinct[digest].label]].append(distinct[digest])
    needed = max(train + val for train, val in zip(TRAIN, VAL, strict=True))
    enough = [name for name, samples in grouped.items() if len(samples) >= needed]
    if len(enough) < 2:
        raise InputError(f"{root}: the training benchmark needs two classes of {needed} images or more")
    names = list(PAIR) if set(PAIR) <= set(enough) else enough[:2]
    return names, [grouped[name] for name in names]


def _write_crops(out: Path) -> None:
    for label, (train, val) in enumerate(zip(TRAIN, VAL, strict=True)):
        for number, crop in enumerate(islice(crops(label, seed=label), train + val)):
            split = "train" if number < train else "val"
            path = out / split / f"photograph{label}" / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            crop.save(path, quality=90)


def small_jpegs(settings: Settings, count: int) -> tuple[list[Sample], str]:
    """Up to ``count`` pictures: the user's, or crops of 100 x 100 pixels."""
    if settings.images is not None:
        dataset = load_dataset(settings.images)
        every = [sample for split in dataset.splits.values() for sample in split]
        samples = list({sample.digest: sample for sample in every}.values())[:count]
        return samples, f"{len(samples)} images of {settings.images.name}"
    folder = settings.folder(f"jpegs-{count}")
    for number, crop in enumerate(islice(crops(0, seed=7), count)):
        crop.resize((100, 100)).save(folder / f"{number:05}.jpg", quality=90)
    return samples_of(folder), f"{count} crops of 100x100 from a sample photograph"


def labelled(settings: Settings) -> tuple[Path, str]:
    """A labelled image folder: the user's, or the demo's digits."""
    if settings.images is not None:
        return settings.images, settings.images.name
    return write_digits(settings.work / "digits"), "the demo's digits"


def distinct_jpegs(folder: Path, count: int) -> None:
    """Write ``count`` JPEGs of 64 x 64 pixels that differ in a comment, so that every digest is new."""
    bases = []
    for crop in islice(crops(1, seed=3), 16):
        buffer = io.BytesIO()
        crop.resize((64, 64)).save(buffer, "JPEG", quality=75)
        bases.append(buffer.getvalue())
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:06}.jpg").write_bytes(with_comment(bases[number % 16], f"{number:06}".encode()))


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """The JPEG with a comment segment (ITU-T T.81, B.2.4.5) after its first marker: same pixels."""
    if jpeg[:2] != b"\xff\xd8":
        raise ValueError("not a JPEG")
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def samples_of(folder: Path) -> list[Sample]:
    """The files of a folder, all of one class."""
    return [Sample(str(path), 0, sha256_file(path)) for path in sorted(folder.iterdir())]


def crops(photograph: int, *, seed: int) -> Iterator[Image.Image]:
    """Endless square crops from one of scikit-learn's two sample photographs."""
    pixels = _photographs()[photograph]
    rng = np.random.default_rng(seed)
    height, width, _ = pixels.shape
    while True:
        side = int(rng.integers(80, 240))
        top, left = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
        yield Image.fromarray(pixels[top : top + side, left : left + side])


@cache
def _photographs() -> Sequence[npt.NDArray[np.uint8]]:
    from sklearn.datasets import load_sample_images

    images: list[npt.NDArray[np.uint8]] = load_sample_images().images
    return images
