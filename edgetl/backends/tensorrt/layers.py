"""What an engine's layers prove: the precision of every product of the model, and what moves data only.

A model's convolutions and matrix products (its *nodes*: operator by ONNX node name) are looked up one by
one. TensorRT fuses, splits and renames them, and layers that only rescale a product list its node too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edgetl.backends.base import Precision, majority
from edgetl.backends.tensorrt.layer_log import WEIGHTS, Layer, Tensor, parse_inspector, parse_log
from edgetl.errors import BackendError

__all__ = ["Layer", "LayerReport", "Tensor", "computes_in", "constant_bytes", "parse_inspector", "parse_log"]

SCHEMA = "edgetl.layers/1"
_FLOATS = ("f16", "bf16", "f32")
_NARROWEST_FIRST = ("int4", "fp4", "int8", "fp8", *_FLOATS)
_KIND = re.compile(r"conv(?!er)|correlation|gemm|matmul|matrix_?multiply|mha", re.IGNORECASE)
_KERNEL = re.compile(r"gemm|mha", re.IGNORECASE)
_GENERATED = ("kgen", "fusion")
_MOVING_KIND = re.compile(r"reformat|copy|shuffle", re.IGNORECASE)
_MOVING = re.compile(r"(?:Tran|Resh|Conc|Move|Copy|Slic|Cast)+")
_STEPS = re.compile(r"__myl_([A-Za-z]+)_")
_SUFFIX = re.compile(r"_myl\d+_\d+$")
_NAMED = 3


@dataclass(frozen=True)
class LayerReport:
    """The layers of one engine, in the order they run."""

    layers: tuple[Layer, ...]

    def arithmetic(self, nodes: Iterable[str] = ()) -> tuple[Layer, ...]:
        """Layers that multiply matrices or convolve, by kind or because they compute one of ``nodes``."""
        computing = {layer.name for node in nodes for layer in self.computing(node)}
        return tuple(layer for layer in self.layers if _multiplies(layer) or layer.name in computing)

    def computing(self, node: str) -> tuple[Layer, ...]:
        """The layers that do a node's multiplications; none if the engine has no such layer.

        One layer may do several nodes (attention), and only the layer named after a node is sure to do it:
        others list it because they do a part of its neighbourhood.
        """
        listing = self._listing.get(node, [])
        found = [layer for layer in listing if _multiplies(layer)]
        # a product with one row is generated code that multiplies and sums
        found = found or [layer for layer in listing if "MulSum" in _kernel(layer)]
        return tuple([layer for layer in found if _named_after(layer, node)] or found)

    @cached_property
    def _listing(self) -> dict[str, list[Layer]]:
        """Layers by ONNX node."""
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for name in dict.fromkeys((*layer.onnx_nodes, *layer.name.split(" + "))):
                found.setdefault(name, []).append(layer)
        return found

    def precisions(self, nodes: Iterable[str]) -> dict[str, str]:
        """The dtype each node computes in; the widest where several layers do it, ``unknown`` where none."""
        return {node: _widest(map(computes_in, self.computing(node))) for node in nodes}

    def precision(self, asked: str, float_part: str, nodes: Iterable[str]) -> Precision:
        """The precision of the engine, counted by node.

        Args:
            float_part: asked for in what is not quantized; it stands unless a product computes in another.
        """
        counts = Counter(self.precisions(nodes).values())
        floats = {name: counts[name] for name in _FLOATS if counts[name]}
        rest = majority(floats) if floats else float_part
        return Precision(asked, majority(counts), rest, dict(counts.most_common()))

    def float_nodes(self, nodes: Iterable[str], int8: Iterable[str]) -> tuple[str, ...]:
        """Nodes asked for in INT8 that compute in another type; for those not found see ``untold_nodes``."""
        wanted = set(int8)
        found = self.precisions(node for node in nodes if node in wanted)
        return tuple(node for node, dtype in found.items() if dtype not in ("int8", "unknown"))

    def untold_nodes(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """Those of the nodes that no layer says to compute."""
        return tuple(node for node, dtype in self.precisions(nodes).items() if dtype == "unknown")

    def reformats(self) -> tuple[Layer, ...]:
        """Layers that move or convert data and compute nothing."""
        return tuple(
            layer
            for layer in self.layers
            if _MOVING_KIND.search(layer.kind) or _MOVING.fullmatch(_steps(layer))
        )

    def by_kind(self) -> dict[str, int]:
        """Number of layers of each kind, most first."""
        return dict(Counter(layer.kind for layer in self.layers).most_common())

    def findings(self, nodes: Iterable[str], int8: Iterable[str] = ()) -> list[str]:
        """What is worth knowing, one sentence each; only what the layers show."""
        nodes = list(nodes)
        lost = self.untold_nodes(nodes)
        widened = self.float_nodes(nodes, int8)
        tf32 = sum("tf32" in layer.tactic for layer in self.arithmetic(nodes))
        sentences = [self._padding()]
        if lost:
            sentences.append(
                f"The precision of {len(lost)} of {len(nodes)} products is not told: {few(lost)}."
            )
        if widened:
            sentences.append(
                f"{_are(len(widened), 'product')} built in float against the model: {few(widened)}."
            )
        if tf32:
            sentences.append(f"{_are(tf32, 'float layer')} computed in TF32, with 10 bits of mantissa.")
        return [sentence for sentence in sentences if sentence]

    def _padding(self) -> str:
        """Depthwise INT8 convolutions, fed with zeros in the place of channels that their kernel needs."""
        made = {tensor.name: layer for layer in self.layers for tensor in layer.outputs}
        padded = [
            found
            for layer in self.arithmetic()
            if layer.inputs and (source := made.get(layer.inputs[0].name))
            if (found := _padding_of(layer, source))
        ]
        if not padded:
            return ""
        # the engine stores equal constants once
        size = sum({zeros.elements for _, zeros in padded})
        widths = " or ".join(map(str, sorted({width for width, _ in padded})))
        return (
            f"{_are(len(padded), 'depthwise convolution')} padded from 1 to {widths} channels a group: "
            f"{size / 1e6:.1f} MB of zeros in the engine; keep them in float to avoid it (recipe keep_float)."
        )

    def summary(self, nodes: Mapping[str, str], int8: Iterable[str] = ()) -> dict[str, Any]:
        """JSON-ready figures for the report: nodes by precision, layers by kind, reformats, findings."""
        return {
            "arithmetic": dict(Counter(self.precisions(nodes).values()).most_common()),
            "layers": len(self.layers),
            "by_kind": self.by_kind(),
            "reformats": len(self.reformats()),
            "findings": self.findings(nodes, int8),
        }

    def to_dict(self) -> dict[str, Any]:
        """Compact and JSON-ready: a tensor is ``[name, dtype, shape, layout]``."""
        return {"schema": SCHEMA, "layers": [_layer_dict(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerReport:
        """The report of :meth:`to_dict`.

        Raises:
            BackendError: if it is something else.
        """
        try:
            if data["schema"] != SCHEMA:
                raise BackendError(
                    f"layers of schema {data['schema']!r}, not {SCHEMA!r}; build the engine again"
                )
            return cls(tuple(_layer(entry) for entry in data["layers"]))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise BackendError(f"the layer report is damaged ({reason}); build the engine again") from error


def computes_in(layer: Layer) -> str:
    """The dtype a layer multiplies in: the widest of its operands, ``unknown`` if one is not told."""
    return _widest(tensor.dtype for tensor in _operands(layer))


def constant_bytes(layer: Layer) -> int | None:
    """Bytes of a layer's constants; None if the size of one is not known."""
    sizes = [tensor.bytes for tensor in layer.constants]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _operands(layer: Layer) -> Sequence[Tensor]:
    """Data and weights, without what is added, scaled or passed through beside them."""
    data, matrices = layer.inputs, _matrices(layer)
    if "mha" in (_kernel(layer) if layer.kind in _GENERATED else layer.kind).lower():
        return data[:3]
    if matrices:
        return (*data[:1], max(matrices, key=lambda tensor: tensor.elements))
    return data[:2] if len(data) > 1 else (*data, *layer.constants)


def _matrices(layer: Layer) -> list[Tensor]:
    return [
        tensor
        for tensor in layer.constants
        if tensor.name == WEIGHTS or sum(size > 1 for size in tensor.shape) > 1
    ]


def _widest(dtypes: Iterable[str]) -> str:
    """The widest; ``unknown`` if there is none, or one that is no type of products."""
    ranks = []
    for dtype in dtypes:
        name = "int8" if dtype == "uint8" else dtype
        if name not in _NARROWEST_FIRST:
            return "unknown"
        ranks.append(_NARROWEST_FIRST.index(name))
    return _NARROWEST_FIRST[max(ranks)] if ranks else "unknown"


def _multiplies(layer: Layer) -> bool:
    generated = layer.kind in _GENERATED and _KERNEL.search(_kernel(layer))
    return bool(_KIND.search(layer.kind) or generated)


def _kernel(layer: Layer) -> str:
    return layer.tactic or layer.name


def _steps(layer: Layer) -> str:
    """What generated code does, in the order it does it: ``CastTranAdd``; empty for other layers."""
    found = _STEPS.match(layer.name)
    return found[1] if found else ""


def _named_after(layer: Layer, node: str) -> bool:
    """10.x joins the names of what it fused with ``+``; generated names have no punctuation but slashes."""
    own = _SUFFIX.sub("", layer.name)
    return node in own.split(" + ") or re.sub(r"\W", "_", node) == re.sub(r"\W", "_", own)


def _padding_of(layer: Layer, source: Layer) -> tuple[int, Tensor] | None:
    """Channels in a group, and the zeros that ``source`` puts beside the group's one real channel."""
    data = layer.inputs[0]
    weights = max(_matrices(layer), key=lambda tensor: tensor.elements, default=data)
    if "Conc" not in _steps(source) or len(weights.shape) != 4 or len(data.shape) != 4:
        return None
    width = weights.shape[1]
    for zeros in source.constants:
        fills = zeros.elements * width == data.elements * (width - 1)
        depthwise = 1 < width < data.shape[1] and zeros.shape[-2:] == data.shape[-2:]
        if depthwise and fills and zeros.dtype == "int8":
            return width, zeros
    return None


def few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _are(count: int, noun: str) -> str:
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


def _layer_dict(layer: Layer) -> dict[str, Any]:
    tensors = {name: getattr(layer, name) for name in ("inputs", "constants", "outputs")}
    return {
        "name": layer.name,
        "kind": layer.kind,
        **{
            name: [[t.name, t.dtype, list(t.shape), t.layout] for t in group]
            for name, group in tensors.items()
        },
        "tactic": layer.tactic,
        "onnx_nodes": list(layer.onnx_nodes),
        "stream": layer.stream,
    }


def _layer(entry: Mapping[str, Any]) -> Layer:
    def tensors(key: str) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(str(name), str(dtype), tuple(map(int, shape)), str(layout))
            for name, dtype, shape, layout in entry[key]
        )

    return Layer(
        name=str(entry["name"]),
        kind=str(entry["kind"]),
        inputs=tensors("inputs"),
        constants=tensors("constants"),
        outputs=tensors("outputs"),
        tactic=str(entry["tactic"]),
        onnx_nodes=tuple(map(str, entry["onnx_nodes"])),
        stream=int(entry["stream"]),
    )
