"""From a scanned folder to a dataset: which image trains, which is held out, and never both.

All exact copies of an image (same sha256) count as files but go to the same side, or the held-out
accuracy would be measured on images that were trained on.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from edgetl.data.dataset import (
    ClassFolder,
    Dataset,
    Sample,
    Skipped,
    check_sizes,
    in_path_order,
    relative,
    skipped_hint,
)
from edgetl.data.folder import scan_folder
from edgetl.errors import InputError


def load_dataset(
    root: str | Path,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Scan an image folder and split it, unless it comes split into ``train`` and ``val`` or ``test``.

    Args:
        root: ``ROOT/class/...``, or ``ROOT/train/class/...`` with ``ROOT/val`` (or ``validation``,
            ``valid``) and/or ``ROOT/test`` of the same classes.
        val_fraction: share of each class's files to hold out, where the folder isn't split.
        seed: another seed holds out other images.
        progress: called with (files looked at, files in all).

    Raises:
        InputError: if there is no such folder, it isn't laid out as above, or a class is too small.
    """
    if not 0 < val_fraction < 1:
        raise InputError(f"the validation fraction is {val_fraction}; give one between 0 and 1, such as 0.2")
    scan = scan_folder(Path(root), progress=progress)
    for folder in scan.folders:
        _require_images(folder, scan.root)
    by_split: defaultdict[str, list[Sample]] = defaultdict(list)
    for folder in scan.folders:
        by_split[folder.split].extend(folder.samples)
    every = [s for samples in by_split.values() for s in samples]
    notes = [*scan.notes, *_contradiction_notes(every, scan.root)]
    dropped: list[tuple[int, Skipped]] = [(f.label, s) for f in scan.folders for s in f.skipped]
    if "" in by_split:
        check_sizes(scan.classes, {"": every}, dropped)
        splits = split_samples(scan.classes, every, val_fraction=val_fraction, seed=seed)
    else:
        splits, leaks, leak_notes = _drop_leaks(by_split, scan.root)
        dropped += leaks
        notes += leak_notes
        check_sizes(scan.classes, splits, dropped)
    skipped = in_path_order([*scan.stray, *(entry for _, entry in dropped)])
    train, val, test = (_in_content_order(splits.get(name, ())) for name in ("train", "val", "test"))
    return Dataset(scan.root, scan.classes, train, val, test, skipped, tuple(notes))


def split_samples(
    classes: Sequence[str], samples: Sequence[Sample], *, val_fraction: float, seed: int
) -> dict[str, list[Sample]]:
    """Split each class into ``train`` and ``val`` by the rank of sha256 of seed and content.

    An image's rank depends on nothing but itself and the seed, so files may be renamed, and adding some
    moves few of the others. Images that occur in more than one class all go to ``train``.

    Raises:
        InputError: if a class has nothing but images which other classes have too.
    """
    labels: defaultdict[str, set[int]] = defaultdict(set)
    copies: list[Counter[str]] = [Counter() for _ in classes]
    for s in samples:
        labels[s.digest].add(s.label)
        copies[s.label][s.digest] += 1
    held_out: set[str] = set()
    for label, name in enumerate(classes):
        own = {digest: n for digest, n in copies[label].items() if len(labels[digest]) == 1}
        if not own:
            raise InputError(
                f"every image of class '{name}' is in another class too, so none can be held out; "
                "keep each image in one class only"
            )
        all_own = len(own) == len(copies[label])
        target = round(val_fraction * copies[label].total())
        held_out |= _choose(own, target, len(own) - 1 if all_own else len(own), seed)
    return {
        "train": [s for s in samples if s.digest not in held_out],
        "val": [s for s in samples if s.digest in held_out],
    }


def _choose(copies: Mapping[str, int], target: int, most: int, seed: int) -> set[str]:
    """Images to hold out: by rank, as many as fit into ``target`` files; at least 1 and up to ``most``."""

    def rank(digest: str) -> tuple[str, str]:
        return hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest(), digest

    ranked = sorted(copies, key=rank)
    chosen: set[str] = set()
    files = 0
    for digest in ranked:
        if len(chosen) < most and files + copies[digest] <= target:
            chosen.add(digest)
            files += copies[digest]
    return chosen or {min(ranked, key=lambda digest: copies[digest])}


def _drop_leaks(
    by_split: Mapping[str, Sequence[Sample]], root: Path
) -> tuple[dict[str, list[Sample]], list[tuple[int, Skipped]], list[str]]:
    """Keep an image that occurs in several splits only in the one furthest from training."""
    splits: dict[str, list[Sample]] = {}
    leaks: list[tuple[int, Skipped]] = []
    notes = []
    taken: dict[str, Path] = {}
    for name in ("test", "val", "train"):
        samples = by_split.get(name, ())
        if not samples:
            continue
        splits[name] = [s for s in samples if s.digest not in taken]
        leaked = [s for s in samples if s.digest in taken]
        for s in leaked:
            reason = f"also in {relative(taken[s.digest], root)}"
            leaks.append((s.label, Skipped(relative(s.path, root), reason)))
        if leaked:
            files = "1 file" if len(leaked) == 1 else f"{len(leaked)} files"
            example = leaks[-1][1]
            example_text = f"e.g. {example.path}: {example.reason}"
            notes.append(f"{files} dropped from {name}, copies of held-out images, {example_text}")
        for s in splits[name]:
            taken.setdefault(s.digest, s.path)
    return splits, leaks, notes


def _contradiction_notes(samples: Iterable[Sample], root: Path) -> list[str]:
    first: dict[str, Sample] = {}
    found: dict[str, tuple[Sample, Sample]] = {}
    for s in samples:
        other = first.setdefault(s.digest, s)
        if other.label != s.label:
            found.setdefault(s.digest, (other, s))
    if not found:
        return []
    images = "1 image occurs" if len(found) == 1 else f"{len(found)} images occur"
    a, b = (relative(s.path, root) for s in next(iter(found.values())))
    return [f"{images} in more than one class, e.g. {a} and {b}: labels contradict"]


def _require_images(folder: ClassFolder, root: Path) -> None:
    if not folder.samples:
        shown = relative(folder.path, root)
        hint = skipped_hint(folder.skipped) or " (0 files there)"
        raise InputError(f"class folder '{shown}' has no usable image{hint}; add images or remove the folder")


def _in_content_order(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda s: (s.label, s.digest, s.path)))
