"""The golden input and output: a few images and the logits that the engine gave for them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from edgetl.bundle.manifest import Manifest
from edgetl.bundle.write import GOLDEN_INPUT, GOLDEN_OUTPUT
from edgetl.errors import BundleError

MOST_IMAGES = 64
_LONGEST_HEADER = 1024
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([^']+)', 'fortran_order': False, 'shape': \((\d[\d, ]*)\), \} *\n",
    re.DOTALL,
)
"""What ``numpy.save`` writes of such arrays. NumPy's own reader runs a parser over whatever stands there, and
reserves the memory that it is told."""


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
    images = _array(folder / GOLDEN_INPUT, np.dtype(np.uint8))
    expected = _array(folder / GOLDEN_OUTPUT, np.dtype(np.float32))
    if not np.isfinite(expected).all():
        raise BundleError(f"{folder}: {GOLDEN_OUTPUT!r} holds logits that are not finite")
    return images, expected


def _count(folder: Path, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """How many rows of this shape a file holds."""
    (count, *rest), _ = _header(folder / name, dtype)
    if tuple(rest) != shape or not 1 <= count <= MOST_IMAGES:
        raise BundleError(f"{folder}: {name!r} does not fit the contract and labels in the manifest")
    return count


def _array(path: Path, dtype: np.dtype) -> np.ndarray:
    shape, start = _header(path, dtype)
    array: np.ndarray = np.fromfile(path, dtype, math.prod(shape), offset=start).reshape(shape)
    return array


def _header(path: Path, dtype: np.dtype) -> tuple[tuple[int, ...], int]:
    """Shape of an ``.npy`` file's array and where its data begin.

    Raises:
        BundleError: if it is no such file, of another type, or not as long as its header says.
    """
    with path.open("rb") as stream:
        start = stream.read(_LONGEST_HEADER)
    found = _HEADER.match(start)
    if found is None or found[1].decode("latin-1") != dtype.str:
        raise BundleError(f"{path} can't be read: it is no array of {dtype} as NumPy writes it")
    shape = tuple(int(size) for size in found[2].replace(b" ", b"").split(b",") if size)
    length = found.end()
    if int.from_bytes(start[8:10], "little") + 10 != length:
        raise BundleError(f"{path} can't be read: its header is damaged")
    if path.stat().st_size != length + math.prod(shape) * dtype.itemsize:
        raise BundleError(f"{path} can't be read: it is not as long as its header says")
    return shape, length
