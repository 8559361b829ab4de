"""Which nodes of an ONNX file a node of onnxruntime's optimized graph stands for, told from its name.

The file is read without the package ``onnx``, which a device does not have: nodes only, no weights.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GRAPH, _NODE = 7, 1
_INPUT, _OUTPUT, _NAME, _OPERATOR = 1, 2, 3, 4
_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_RUN = "_kernel_time"
_AGAIN = re.compile(r"_token_\d+$")
"""What onnxruntime appends to a name that is taken: to a copy's, or to that of an operator it inserts."""
_BLOCKED = "_nchwc"
"""What it appends to the name of a tensor, to name the node in blocked layout that writes it."""


@dataclass(frozen=True)
class _Node:
    name: str
    operator: str
    source: str


class NodeNames:
    """The nodes of one ONNX file, by their names and by the tensors they write."""

    def __init__(self, model: Path) -> None:
        self._writers: dict[str, _Node] = {}
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for node, outputs in _nodes(data):
                self._writers.update(dict.fromkeys(outputs, node))
        self._names = {node.name for node in self._writers.values()} - {""}

    def computed_by(self, event: str, operator: str) -> tuple[str, ...]:
        """Nodes of the file, in their order; none for what onnxruntime inserted, or named after nothing here.

        Args:
            event: name of a node in the profile.
            operator: its operator there.
        """
        name = event.removesuffix(_RUN).rstrip("/")
        own = _AGAIN.sub("", name)
        if own == operator != name:
            return ()
        if own.endswith(_BLOCKED):
            return self._up_to(own.removesuffix(_BLOCKED), operator)
        while own:
            if own in self._names:
                return (own,)
            own = own.rpartition("/")[0]  # a fusion's name is below that of the node it began with
        return ()

    def _up_to(self, tensor: str, operator: str) -> tuple[str, ...]:
        """The node that writes a tensor, and the layer's operator before it where it is an activation."""
        last = self._writers.get(tensor)
        if last is None:
            return ()
        before = self._writers.get(last.source)
        fused = (
            [before, last] if last.operator != operator and before and before.operator == operator else [last]
        )
        return tuple(node.name for node in fused if node.name)


def _nodes(data: mmap.mmap) -> Iterator[tuple[_Node, list[str]]]:
    """The nodes of the main graph, each with its outputs."""
    for number, start, end in _fields(data, 0, len(data)):
        if number == _GRAPH:
            for inner, begin, stop in _fields(data, start, end):
                if inner == _NODE:
                    yield _node(data, begin, stop)


def _node(data: mmap.mmap, start: int, end: int) -> tuple[_Node, list[str]]:
    texts: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _NAME: [""], _OPERATOR: [""]}
    for number, begin, stop in _fields(data, start, end):
        if number in texts:
            texts[number].append(data[begin:stop].decode())
    return _Node(texts[_NAME][-1], texts[_OPERATOR][-1], next(iter(texts[_INPUT]), "")), texts[_OUTPUT]


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of the strings and messages in a protobuf message."""
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _DELIMITED:
            size, at = _varint(data, at)
            yield key >> 3, at, at + size
            at += size
        else:
            at += {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}[kind]


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number, and where the next byte is."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
