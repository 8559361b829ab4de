"""Several inferences in flight, for runtimes that leave that to their caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def run_pooled(
    run: Callable[[Item], Answer], items: Iterable[Item], workers: int, consume: Callable[[int, Answer], None]
) -> None:
    """``consume(index, run(item))`` in this thread, in the order of completion.

    Items are drawn as there is room for them, at most two more than workers.
    """
    pending: dict[Future[Answer], int] = {}

    def drain() -> None:
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            consume(pending.pop(future), future.result())

    with ThreadPoolExecutor(workers) as pool:
        for index, item in enumerate(items):
            if len(pending) > workers:
                drain()
            pending[pool.submit(run, item)] = index
        while pending:
            drain()
