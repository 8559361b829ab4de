"""The same network, the same bytes: OpenVINO numbers the nodes it invents by a counter of the process."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBERED = rb"[A-Za-z]+_\d+"
_NAME = re.compile(rb'(?<=name=")' + _NUMBERED + rb'(?=")')


def stabilise_names(ir: Path, source: Path) -> None:
    """Renumber the invented names of an IR from zero, in place; names that the source graph uses stay.

    Names in an IR are for people: its edges refer to nodes by their ids.

    Args:
        ir: the ``.xml`` file.
        source: the ONNX file it was made from.
    """
    known = frozenset(re.findall(_NUMBERED, source.read_bytes()))
    numbers: dict[bytes, bytes] = {}

    def renumber(match: re.Match[bytes]) -> bytes:
        name = match.group()
        if name in known:
            return name
        return numbers.setdefault(name, b"%s_auto%d" % (name.rpartition(b"_")[0], len(numbers)))

    ir.write_bytes(_NAME.sub(renumber, ir.read_bytes()))
