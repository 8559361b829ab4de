"""An engine file's first bytes: which TensorRT wrote it and how long it is, without TensorRT."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = {b"ptrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
"""First bytes of an engine file, by backend."""

# magic and 12 bytes of other things, the file's size, the version's four numbers
_HEADER = struct.Struct("<4s12xQ4B")


@dataclass(frozen=True)
class Header:
    """What an engine file says of itself.

    Attributes:
        module: ``tensorrt`` or ``tensorrt-rtx``.
        version: of the TensorRT that wrote it, four numbers.
        size: bytes the whole file should have; None for full TensorRT, whose place for it is not documented.
    """

    module: str
    version: str
    size: int | None


def read_header(path: Path) -> Header | None:
    """The header of an engine file; None for any other file, or one too short to have a header.

    Raises:
        OSError: if the file can't be read.
    """
    with path.open("rb") as stream:
        start = stream.read(_HEADER.size)
    if len(start) < _HEADER.size or start[:4] not in MAGIC:
        return None
    magic, size, *version = _HEADER.unpack(start)
    module = MAGIC[magic]
    return Header(module, ".".join(map(str, version)), size if module == "tensorrt-rtx" else None)
