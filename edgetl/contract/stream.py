"""Pictures decoded ahead of whoever uses them, in order, with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from edgetl.contract.image import UInt8, UnreadableImageError, preprocess
from edgetl.contract.value import Contract

Decoded = UInt8 | UnreadableImageError

_CHUNK = 8
"""Pictures a task decodes: handing them over one by one costs the threads a third of their speed."""
_AHEAD = 2
"""Chunks in work or waiting, for each worker."""


def usable_cores() -> int:
    """Logical processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stream(paths: Iterable[Path], contract: Contract, *, workers: int | None = None) -> Iterator[Decoded]:
    """Preprocess pictures in a thread pool and yield them in order.

    A fixed number of pictures is held at a time. Pillow releases the interpreter lock while it decodes
    and resizes, so threads suffice.

    Yields:
        ``uint8 [H, W, 3]``, or the error of a picture that can't be read.
    """
    workers = workers or usable_cores()
    source = iter(paths)
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        pending: deque[Future[list[Decoded]]] = deque(
            pool.submit(_decode, chunk, contract) for chunk in islice(chunks, _AHEAD * workers)
        )
        try:
            while pending:
                decoded = pending.popleft().result()
                pending.extend(pool.submit(_decode, chunk, contract) for chunk in islice(chunks, 1))
                yield from decoded
        finally:
            for future in pending:
                future.cancel()


def _decode(paths: list[Path], contract: Contract) -> list[Decoded]:
    return [_decode_one(path, contract) for path in paths]


def _decode_one(path: Path, contract: Contract) -> Decoded:
    try:
        return preprocess(path, contract)
    except UnreadableImageError as error:
        return error
