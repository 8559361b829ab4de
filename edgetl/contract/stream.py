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


def usable_cores() -> int:
    """Logical processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stream(paths: Iterable[Path], contract: Contract, *, workers: int | None = None) -> Iterator[Decoded]:
    """Preprocess pictures in a thread pool and yield them in order.

    At most four pictures a worker are held. Pillow releases the interpreter lock while it decodes and
    resizes, so threads suffice.

    Yields:
        ``uint8 [H, W, 3]``, or the error of a picture that can't be read.
    """
    workers = workers or usable_cores()
    source = iter(paths)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        pending: deque[Future[Decoded]] = deque(
            pool.submit(_decode, path, contract) for path in islice(source, 4 * workers)
        )
        try:
            while pending:
                decoded = pending.popleft().result()
                for path in islice(source, 1):
                    pending.append(pool.submit(_decode, path, contract))
                yield decoded
        finally:
            for future in pending:
                future.cancel()


def _decode(path: Path, contract: Contract) -> Decoded:
    try:
        return preprocess(path, contract)
    except UnreadableImageError as error:
        return error
