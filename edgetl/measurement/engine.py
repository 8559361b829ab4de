"""What the bench needs of an engine; every backend's session fits it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgetl.errors import BackendError, EdgetlError, InputError

Images = npt.NDArray[np.uint8]
"""RGB pictures, ``uint8 [N, H, W, 3]``."""

Logits = npt.NDArray[np.float32]
"""Network outputs, ``float32 [N, classes]``."""


class Runnable(Protocol):
    """A loaded engine."""

    def run(self, images: Images) -> Logits:
        """The outputs of one batch; blocks until they are there."""
        ...

    def run_many(self, batches: Iterator[Images], consume: Callable[[int, Logits], None]) -> None:
        """Throughput mode: keeps several inferences in flight and returns when all are done.

        ``consume(index, output)`` is called once per batch, in any order and from any thread; the
        iterator is advanced by one thread at a time.
        """
        ...


def as_batch(image: Images) -> Images:
    """``image`` (``uint8 [H, W, 3]`` or ``[N, H, W, 3]``) as a contiguous batch.

    Raises:
        InputError: for any other shape or type.
    """
    batch = image[np.newaxis] if image.ndim == 3 else image
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[-1] != 3 or batch.size == 0:
        raise InputError(
            f"bench: image is {image.dtype} {list(image.shape)}; give uint8 [H, W, 3] or [N, H, W, 3]"
        )
    return np.ascontiguousarray(batch)


def as_error(who: str, error: Exception) -> EdgetlError:
    """What an engine raised as an EdgetlError of one line; one that is already such stays itself."""
    if isinstance(error, EdgetlError):
        return error
    reason = " ".join(str(error).split()) or type(error).__name__
    wrapped = BackendError(f"{who}: the engine failed while being measured: {reason}")
    wrapped.__cause__ = error
    return wrapped
