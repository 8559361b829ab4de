"""What TensorRT says of an engine's layers: the builder's log message and the inspector's JSON.

Both tell the same facts in two spellings. 10.x writes a tensor's type into its format and lists a fused
layer's constants among its inputs; 11.x and TensorRT for RTX keep them apart.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgetl.errors import BackendError

BYTES: Mapping[str, float] = {
    **dict.fromkeys(("int8", "uint8", "bool", "fp8", "e8m0"), 1),
    **dict.fromkeys(("f16", "bf16"), 2),
    **dict.fromkeys(("f32", "i32"), 4),
    **dict.fromkeys(("int4", "fp4"), 0.5),
    "i64": 8,
}
"""Bytes of one element, by dtype."""

_WORDS = {
    **{name: name for name in ("int8", "uint8", "bool", "fp8", "bf16", "int4", "fp4", "e8m0")},
    **dict.fromkeys(("float", "fp32"), "f32"),
    **dict.fromkeys(("half", "fp16"), "f16"),
    "bfloat16": "bf16",
    "int32": "i32",
    "int64": "i64",
}
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
_LAYOUT = re.compile(r"\((\w+)\)")
_ONNX = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\s]*(?:\[|$))")
_HEAD = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+)", re.MULTILINE)
_TENSOR = re.compile(
    r"\{ Name: (?P<name>.*?), (?:Location: \w+, )?Dimensions: \[(?P<shape>[-\d,\s]*)\](?P<rest>.*?) \}"
)
_STORED = re.compile(r'\b(Weights|Bias): \{"Type": "(\w+)", "Count": (\d+)\}')
_TACTIC = re.compile(r"\bTacticName: (.*?), (?:TacticValue|StreamId):")
_STREAM = re.compile(r"\bStreamId: (\d+)")
_EDGES = re.compile(r"^\s*(?:I/O Tensors|Bindings):\s*$", re.MULTILINE)
_EDGE = re.compile(r"^\s*(?:Name: )?(.+?)(?:, IOMode: .*)?$", re.MULTILINE)
WEIGHTS = "Weights"
"""Name of the constant that convolutions of 10.x state apart, as a type and a count."""


@dataclass(frozen=True)
class Tensor:
    """A layer's input, constant or output; a dimension of -1 is dynamic, dtype ``unknown`` was not told."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str = ""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int | None:
        """Size in memory; None if the dtype or a dimension is not known."""
        if self.dtype not in BYTES or min(self.shape, default=0) < 0:
            return None
        return math.ceil(self.elements * BYTES[self.dtype])


@dataclass(frozen=True)
class Layer:
    """One step of an engine.

    Attributes:
        kind: TensorRT's layer type, as it writes it.
        constants: weights and what else is stored in the engine for this layer.
        tactic: name of the kernel; empty if it was not told.
        onnx_nodes: names of the ONNX nodes it was made from, wholly or in part.
        stream: CUDA stream it runs on.
    """

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tactic: str = ""
    onnx_nodes: tuple[str, ...] = ()
    stream: int = 0


def parse_log(message: str) -> tuple[Layer, ...]:
    """Layers of the builder's VERBOSE message that begins with ``Layers:``.

    Raises:
        BackendError: if it tells no layer in detail.
    """
    body, *tail = _EDGES.split(message, maxsplit=1)
    heads = list(_HEAD.finditer(body))
    if not heads:
        raise _not_detailed("the builder's log")
    ends = [*(head.start() for head in heads[1:]), len(body)]
    layers = [_from_line(head, body[head.end() : end]) for head, end in zip(heads, ends, strict=True)]
    return _constants_apart(layers, _EDGE.findall(tail[0]) if tail else [])


def parse_inspector(text: str) -> tuple[Layer, ...]:
    """Layers of an ``EngineInspector``'s JSON about a whole engine.

    Raises:
        BackendError: if it is no such JSON, or the engine was built without detailed verbosity.
    """
    try:
        # names may hold control characters that strict JSON has escaped
        document = json.loads(text, strict=False)
        entries = document["Layers"]
        if not entries or isinstance(entries[0], str):
            raise _not_detailed("the engine")
        edges = document.get("I/O Tensors", document.get("Bindings", []))
        names = [edge if isinstance(edge, str) else str(edge["Name"]) for edge in edges]
        return _constants_apart([_from_entry(entry) for entry in entries], names)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BackendError(f"TensorRT's layer information can't be read: {reason}") from error


def _not_detailed(what: str) -> BackendError:
    return BackendError(
        f"{what} tells no more than the layers' names; build it with detailed profiling verbosity "
        "(trtexec --profilingVerbosity=detailed)"
    )


def _from_line(head: re.Match[str], rest: str) -> Layer:
    before, _, after = rest.partition("Outputs: [")
    inputs, _, constants = before.partition("Constants: [")
    facts, _, metadata = after.partition("Metadata: ")
    tactic, stream = _TACTIC.search(facts), _STREAM.search(facts)
    return Layer(
        name=head["name"],
        kind=head["kind"],
        inputs=_from_list(inputs),
        constants=(*_from_list(constants), *(_stored(*found) for found in _STORED.findall(facts))),
        outputs=_from_list(facts),
        tactic=tactic[1] if tactic else "",
        onnx_nodes=tuple(_ONNX.findall(metadata.strip())),
        stream=int(stream[1]) if stream else 0,
    )


def _from_list(text: str) -> tuple[Tensor, ...]:
    return tuple(
        _tensor(
            found["name"],
            [int(size) for size in found["shape"].split(",") if size.strip()],
            found["rest"].partition("Datatype: ")[2],
        )
        for found in _TENSOR.finditer(text)
    )


def _from_entry(entry: Mapping[str, Any]) -> Layer:
    def tensors(key: str) -> tuple[Tensor, ...]:
        return tuple(_from_object(value) for value in entry.get(key, ()))

    stored = [(key, entry[key]) for key in (WEIGHTS, "Bias") if entry.get(key)]
    return Layer(
        name=entry["Name"],
        kind=entry["LayerType"],
        inputs=tensors("Inputs"),
        constants=(*tensors("Constants"), *(_stored(key, at["Type"], at["Count"]) for key, at in stored)),
        outputs=tensors("Outputs"),
        tactic=entry.get("TacticName", ""),
        onnx_nodes=tuple(_ONNX.findall(entry.get("Metadata", "").strip())),
        stream=int(entry.get("StreamId", 0)),
    )


def _from_object(value: Mapping[str, Any]) -> Tensor:
    apart = f"{value.get('Datatype', '')}, Format: {value.get('Format', '')}"
    return _tensor(value["Name"], value["Dimensions"], value.get("Format/Datatype", apart))


def _tensor(name: str, shape: Sequence[int], description: str) -> Tensor:
    """A tensor from what stands behind ``Datatype:``: a type, a format, or both."""
    word = _WORD.search(description)
    layout = description.rpartition("Format: ")[2].strip()
    brief = _LAYOUT.match(layout)
    if word and layout == word[0]:
        layout = ""
    dtype = _WORDS[word[0].lower()] if word else "unknown"
    return Tensor(name, dtype, tuple(int(size) for size in shape), brief[1] if brief else layout)


def _stored(name: str, dtype: str, count: str | int) -> Tensor:
    return _tensor(name, [int(count)], dtype)


def _constants_apart(layers: Sequence[Layer], edges: Sequence[str]) -> tuple[Layer, ...]:
    """The layers with inputs that no layer makes and nobody hands in counted as the constants they are."""
    if not edges:
        return tuple(layers)
    made = {tensor.name for layer in layers for tensor in layer.outputs}.union(edges)
    return tuple(
        replace(
            layer,
            inputs=tuple(tensor for tensor in layer.inputs if tensor.name in made),
            constants=(*(tensor for tensor in layer.inputs if tensor.name not in made), *layer.constants),
        )
        for layer in layers
    )
