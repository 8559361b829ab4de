"""Features of a frozen backbone: once per image, through a compiled engine, kept in the store.

Images are grouped into buckets by their digests. A bucket is one entry of the store, so adding images
recomputes the buckets they fall into and a killed run loses the unfinished buckets only.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.backends.base import Float32, Session, UInt8
from edgetl.contract import Contract, UnreadableImageError
from edgetl.contract.stream import stream
from edgetl.data import Sample
from edgetl.store import Entry, Store

_BUCKET = 32
"""Images a bucket holds on average."""

Progress = Callable[[int, int], None]
OpenSession = Callable[[], Session]


@dataclass(frozen=True)
class Features:
    """Where the features of a set of images are kept.

    Attributes:
        entries: store entries, each with ``features.npy`` (float32 ``[n, D]``) and ``digests.txt``.
        unreadable: reason by digest of the images that could not be decoded.
        computed: number of images that went through the engine this time.
    """

    entries: tuple[Entry, ...]
    unreadable: Mapping[str, str]
    computed: int

    def matrix(self, samples: Sequence[Sample]) -> Float32:
        """``float32 [len(samples), D]``, one row a sample, in their order.

        Raises:
            KeyError: if a sample has no features here.
        """
        wanted: dict[str, list[int]] = {}
        for row, sample in enumerate(samples):
            wanted.setdefault(sample.digest, []).append(row)
        result: Float32 | None = None
        for entry in self.entries:
            block = np.load(entry.file("features.npy"), mmap_mode="r")
            if not len(block):  # none of the bucket's images could be read
                continue
            if result is None:
                result = np.empty((len(samples), block.shape[1]), np.float32)
            for values, digest in zip(block, entry.file("digests.txt").read_text().split(), strict=True):
                result[wanted.pop(digest, [])] = values
        if wanted:
            raise KeyError(f"{len(wanted)} samples have no features, {min(wanted)} among them")
        return result if result is not None else np.empty((0, 0), np.float32)


@dataclass
class _Bucket:
    samples: list[Sample]
    rows: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def extract(
    open_session: OpenSession,
    samples: Sequence[Sample],
    contract: Contract,
    store: Store,
    parts: Mapping[str, Any],
    progress: Progress | None = None,
) -> Features:
    """Features of all samples, from the store where they are there.

    Decoding and resizing run in threads beside the inference. Memory does not grow with the number of
    samples.

    Args:
        open_session: opens the backbone's engine for throughput; called only if something is missing.
        parts: what the features depend on besides the images: the engine, its precision and runtime.
        progress: told (done, total) images.
    """
    parts = {**parts, "contract": contract.fingerprint}
    buckets = _buckets(samples)
    found = [store.find("features", _bucket_parts(parts, bucket)) for bucket in buckets]
    keeper = _Keeper(store, parts, buckets, [i for i, entry in enumerate(found) if entry is None], progress)
    if keeper.total:
        keeper.run(open_session(), contract)
    entries = tuple(entry or keeper.entries[number] for number, entry in enumerate(found))
    unreadable = {digest: reason for entry in entries for digest, reason in entry.facts["unreadable"].items()}
    return Features(entries, unreadable, keeper.total)


class _Keeper:
    """Feeds images to the engine and turns what comes back into store entries, bucket by bucket.

    Entries are written by a thread of their own: waiting for the disk must not starve the engine.
    """

    def __init__(
        self,
        store: Store,
        parts: Mapping[str, Any],
        buckets: list[_Bucket],
        missing: Sequence[int],
        progress: Progress | None,
    ) -> None:
        self._store, self._parts, self._buckets, self._missing = store, parts, buckets, missing
        self._progress, self._done = progress, 0
        self._left = {number: len(buckets[number].samples) for number in missing}
        self._sent: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="keep")
        self._writing: deque[Future[None]] = deque()
        self.entries: dict[int, Entry] = {}
        self.total = sum(self._left.values())

    def run(self, session: Session, contract: Contract) -> None:
        with self._writer:
            session.run_many(self._feed(contract), self._receive)
            self._raise_failures(wait=True)

    def _feed(self, contract: Contract) -> Iterator[UInt8]:
        paths: Iterator[Path] = (self._buckets[number].samples[row].path for number, row in self._places())
        index = 0
        for (number, row), decoded in zip(self._places(), stream(paths, contract), strict=True):
            self._raise_failures(wait=False)
            if isinstance(decoded, UnreadableImageError):
                bucket = self._buckets[number]
                bucket.unreadable[bucket.samples[row].digest] = str(decoded)
                self._one_less(number)
                continue
            self._sent[index] = (number, row)
            index += 1
            yield decoded[None]

    def _places(self) -> Iterator[tuple[int, int]]:
        """Bucket and row of every missing image."""
        return (
            (number, row) for number in self._missing for row in range(len(self._buckets[number].samples))
        )

    def _receive(self, index: int, output: Float32) -> None:
        """Called from the engine's threads: keep it short."""
        number, row = self._sent.pop(index)
        self._buckets[number].rows[row] = output[0]
        self._one_less(number)

    def _one_less(self, number: int) -> None:
        with self._lock:
            self._left[number] -= 1
            if not self._left[number]:
                self._writing.append(self._writer.submit(self._keep, number))

    def _keep(self, number: int) -> None:
        bucket = self._buckets[number]
        parts = _bucket_parts(self._parts, bucket)
        self.entries[number] = self._store.get("features", parts, _writer(bucket))
        bucket.rows.clear()
        self._done += len(bucket.samples)
        if self._progress:
            self._progress(self._done, self.total)

    def _raise_failures(self, *, wait: bool) -> None:
        while self._writing and (wait or self._writing[0].done()):
            self._writing.popleft().result()


def _writer(bucket: _Bucket) -> Callable[[Path], Mapping[str, Any]]:
    def write(folder: Path) -> Mapping[str, Any]:
        rows = sorted(bucket.rows)
        block = np.stack([bucket.rows[row] for row in rows]) if rows else np.empty((0, 0), np.float32)
        np.save(folder / "features.npy", block)
        (folder / "digests.txt").write_text("".join(f"{bucket.samples[row].digest}\n" for row in rows))
        return {"unreadable": bucket.unreadable}

    return write


def _bucket_parts(parts: Mapping[str, Any], bucket: _Bucket) -> dict[str, Any]:
    return {**parts, "images": [sample.digest for sample in bucket.samples]}


def _buckets(samples: Sequence[Sample]) -> list[_Bucket]:
    """Distinct images grouped by the leading bits of their digests, each group sorted by digest."""
    ordered = sorted(samples, key=lambda sample: sample.digest)
    distinct = [next(copies) for _, copies in groupby(ordered, key=lambda sample: sample.digest)]
    bits = max(0, (len(distinct) // _BUCKET).bit_length() - 1)
    groups: dict[int, list[Sample]] = {}
    for sample in distinct:
        groups.setdefault(int(sample.digest[:16], 16) >> (64 - bits), []).append(sample)
    return [_Bucket(groups[number]) for number in sorted(groups)]
