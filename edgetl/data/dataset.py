"""What an image folder amounts to: samples in splits, what was skipped, what is worth knowing."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgetl.errors import InputError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Sample:
    """An image file; ``label`` indexes ``Dataset.classes``, ``digest`` is the sha256 (hex) of its bytes."""

    file: str
    """A string: a path object takes four times its memory, which counts where there are many images."""
    label: int
    digest: str

    @property
    def path(self) -> Path:
        return Path(self.file)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is not used: its printable POSIX path relative to the root, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """The images of one class in one split; ``split`` is empty in the plain layout."""

    path: Path
    split: str
    label: int
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """A folder's classes, sorted, with their images in path order, and what lies outside of them."""

    root: Path
    classes: tuple[str, ...]
    folders: tuple[ClassFolder, ...]
    stray: tuple[Skipped, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled images in splits.

    Samples stand in the order of label, then content digest. So two datasets with equal :attr:`digest`
    hold the same images in the same order, whatever their files are called.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    @property
    def held_out(self) -> tuple[Sample, ...]:
        """The samples accuracy is measured on."""
        return self.test if self.test else self.val

    @property
    def held_out_name(self) -> str:
        return "test" if self.test else "val"

    @property
    def splits(self) -> dict[str, tuple[Sample, ...]]:
        """The splits that hold samples, by name."""
        every = {"train": self.train, "val": self.val, "test": self.test}
        return {name: samples for name, samples in every.items() if samples}

    @property
    def digest(self) -> str:
        """sha256 (hex) of classes, splits, labels and contents; paths and file names don't enter."""
        return self._digest(
            f"{name} {s.label} {s.digest}" for name, split in self.splits.items() for s in split
        )

    @property
    def held_out_digest(self) -> str:
        """As :attr:`digest`, of the held-out images alone, whatever their split is called."""
        return self._digest(f"{s.label} {s.digest}" for s in self.held_out)

    def _digest(self, lines: Iterable[str]) -> str:
        return hashlib.sha256("\n".join([json.dumps(self.classes), *sorted(lines)]).encode()).hexdigest()

    def without(self, unreadable: Mapping[str, str]) -> Dataset:
        """The dataset less the samples whose digest is a key; each is listed as skipped for its reason.

        Raises:
            InputError: if that leaves a class too small (see :func:`check_sizes`).
        """
        kept: dict[str, tuple[Sample, ...]] = {}
        dropped: list[tuple[int, Skipped]] = []
        for name, samples in self.splits.items():
            kept[name] = tuple(s for s in samples if s.digest not in unreadable)
            for s in samples:
                if s.digest in unreadable:
                    dropped.append((s.label, Skipped(relative(s.path, self.root), unreadable[s.digest])))
        check_sizes(self.classes, kept, dropped)
        skipped = in_path_order([*self.skipped, *(entry for _, entry in dropped)])
        return replace(
            self,
            train=kept.get("train", ()),
            val=kept.get("val", ()),
            test=kept.get("test", ()),
            skipped=skipped,
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready summary: root, classes, counts per split and class, notes, digests."""
        return {
            "root": printable(str(self.root)),
            "classes": list(self.classes),
            "counts": {name: self._counts(samples) for name, samples in self.splits.items()},
            "notes": list(self.notes),
            "digest": self.digest,
            "held_out_digest": self.held_out_digest,
        }

    def _counts(self, samples: Sequence[Sample]) -> dict[str, Any]:
        counted = Counter(s.label for s in samples)
        return {"total": len(samples), "classes": {c: counted[i] for i, c in enumerate(self.classes)}}


def check_sizes(
    classes: Sequence[str],
    splits: Mapping[str, Sequence[Sample]],
    dropped: Sequence[tuple[int, Skipped]] = (),
) -> None:
    """Check that every class has two distinct images or more, and one or more in each of ``splits``.

    Args:
        dropped: what is missing, by label, for the message.

    Raises:
        InputError: naming the first class that is too small.
    """
    distinct: list[set[str]] = [set() for _ in classes]
    for samples in splits.values():
        for s in samples:
            distinct[s.label].add(s.digest)
    for label, name in enumerate(classes):
        lost = skipped_hint([entry for owner, entry in dropped if owner == label])
        if len(distinct[label]) < 2:
            raise InputError(
                f"class '{name}' has {len(distinct[label])} distinct usable image(s){lost}; "
                "it needs at least 2, one to train on and one to hold out: add images or remove the class"
            )
        for split, samples in splits.items():
            if all(s.label != label for s in samples):
                raise InputError(f"class '{name}' has no usable image left in {split}{lost}; add images")


def skipped_hint(skipped: Sequence[Skipped]) -> str:
    """`` (2 skipped, e.g. cat/1.jpg: empty file)``, or nothing."""
    if not skipped:
        return ""
    return f" ({len(skipped)} skipped, e.g. {skipped[0].path}: {skipped[0].reason})"


def in_path_order(skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
    return tuple(sorted(skipped, key=lambda entry: (entry.path, entry.reason)))


def relative(path: Path, root: Path) -> str:
    """The printable POSIX path of ``path`` below ``root``."""
    return printable(path.relative_to(root).as_posix())


def printable(text: str) -> str:
    """``text`` with line breaks, control characters and undecodable bytes escaped."""
    # File names may hold any of them, and messages are one line of valid UTF-8.
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c
        for c in text
    )
