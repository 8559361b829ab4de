"""Reading ``.npy`` files that somebody else wrote: plain arrays of one type, and nothing else."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from edgetl.errors import BundleError

_LONGEST_HEADER = 1024
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([^']+)', 'fortran_order': False, 'shape': \((\d[\d, ]*)\), \} *\n",
    re.DOTALL,
)
"""What ``numpy.save`` writes of such arrays. NumPy's own reader runs a parser over whatever stands there, and
reserves the memory that it is told."""


def read_array(path: Path, dtype: np.dtype) -> np.ndarray:
    """The array of a file, which must be of this type.

    Raises:
        BundleError: as ``read_header``.
    """
    shape, start = read_header(path, dtype)
    array: np.ndarray = np.fromfile(path, dtype, math.prod(shape), offset=start).reshape(shape)
    return array


def read_header(path: Path, dtype: np.dtype) -> tuple[tuple[int, ...], int]:
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
