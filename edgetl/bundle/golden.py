"""The golden input and output: a few images and the logits that the engine gave for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgetl.bundle.arrays import read_array, read_header
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.write import GOLDEN_INPUT, GOLDEN_OUTPUT
from edgetl.errors import BundleError

MOST_IMAGES = 64


def require_golden(folder: Path, manifest: Manifest) -> None:
    """Refuse golden files that do not fit the manifest; only their headers are read.

    Raises:
        BundleError: naming the file.
    """
    counts = {
        _count(folder, GOLDEN_INPUT, np.dtype(np.uint8), manifest.contract.input_shape),
        _count(folder, GOLDEN_OUTPUT, np.dtype(np.float32), (len(manifest.labels),)),
    }
    if len(counts) != 1:
        raise BundleError(f"{folder}: there are not as many golden outputs as inputs")


def read_golden(folder: Path, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Golden input, ``uint8 [n, H, W, 3]``, and output, ``float32 [n, classes]``, finite.

    Raises:
        BundleError: if they can't be read or do not fit the manifest.
    """
    require_golden(folder, manifest)
    images = read_array(folder / GOLDEN_INPUT, np.dtype(np.uint8))
    expected = read_array(folder / GOLDEN_OUTPUT, np.dtype(np.float32))
    if not np.isfinite(expected).all():
        raise BundleError(f"{folder}: {GOLDEN_OUTPUT!r} holds logits that are not finite")
    return images, expected


def _count(folder: Path, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """How many rows of this shape a file holds."""
    (count, *rest), _ = read_header(folder / name, dtype)
    if tuple(rest) != shape or not 1 <= count <= MOST_IMAGES:
        raise BundleError(f"{folder}: {name!r} does not fit the contract and labels in the manifest")
    return count
