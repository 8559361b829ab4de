"""What each layer of an ONNX graph takes: multiply-accumulates, and bytes in their real storage type.

A layer is what a runtime can run as one kernel: a node that computes, with the Q/DQ nodes, activations,
bias and residual additions that fold into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.backends.operators import name_of, read_onnx
from edgetl.errors import InputError, needs

if TYPE_CHECKING:
    import onnx

_QUANTIZE = ("QuantizeLinear", "DequantizeLinear")
_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
_CONSTANT = ("Constant", "Shape", "Size")
_PASSED_ON = ("DequantizeLinear", *_VIEWS)
"""Nodes whose output is their input, as far as memory goes."""
_MOVES = ("Transpose", "MaxPool", "Concat", "Split", "Slice", "Pad", "DepthToSpace", "SpaceToDepth")
"""Nodes that pick or move values, so that 8 bits go in and 8 bits come out."""
_FOLDED = {
    *(*_QUANTIZE, *_VIEWS, "Transpose", "Cast", "BatchNormalization", "Dropout"),
    *("Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Erf", "Tanh", "Softplus", "Mish"),
    *("Sigmoid", "HardSigmoid", "HardSwish", "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Neg", "Min", "Max"),
}
"""Element-wise nodes, which a runtime computes where their input is made."""


@dataclass(frozen=True)
class LayerCost:
    """What one layer takes, for one image where the batch is not fixed.

    Attributes:
        name: of the node with most multiply-accumulates, or the first.
        op: its operator.
        nodes: names of all nodes folded into the layer, its own among them.
        macs: multiply-accumulates; 0 for what is not a convolution or a matrix product.
        bytes: read and written once: weights, inputs and outputs.
        bits: the widest operand of its arithmetic: 8, 16 or 32.
        weights: of ``bytes``, those of constants.
    """

    name: str
    op: str
    nodes: tuple[str, ...]
    macs: int
    bytes: int
    bits: int
    weights: int


def layer_costs(model: Path) -> tuple[LayerCost, ...]:
    """The layers of a float or QDQ ONNX, in the graph's order; a dynamic batch counts as 1.

    Raises:
        BackendError: if the file is no ONNX model.
        InputError: if the size of a tensor is not known, the graph has branches or loops, or an operator
            whose arithmetic is not counted.
        MissingDependencyError: if onnx is not installed.
    """
    with needs("quantize", "onnx"):
        loaded = read_onnx(model)
    graph = _Graph(model.name, loaded)
    return tuple(graph.cost(nodes) for nodes in _layers(graph))


def _layers(graph: _Graph) -> list[list[onnx.NodeProto]]:
    """The graph's nodes, cut into layers.

    An element-wise node joins the last of the layers that make its inputs. Nothing in that layer can
    depend on a later one, so layers stay in an order in which they can run.
    """
    layers: list[list[onnx.NodeProto]] = []
    made_by: dict[str, int] = {}
    waiting: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.nodes:
        sources = graph.activations(node)
        ahead = [entry for name in node.input for entry in waiting.pop(name, [])]
        index = max((made_by[name] for name in sources if name in made_by), default=None)
        if graph.is_constant(node) or (index is None and node.op_type in _PASSED_ON):
            waiting[node.output[0]] = [*ahead, node]  # goes with its first reader
            continue
        if index is None or not _joins(graph, node, sources, made_by, index):
            index = len(layers)
            layers.append([])
        layers[index] += [*ahead, node]
        made_by.update(dict.fromkeys(node.output, index))
    return layers


def _joins(
    graph: _Graph, node: onnx.NodeProto, sources: list[str], made_by: Mapping[str, int], index: int
) -> bool:
    """Whether a node is computed where the newest of its inputs is made: not one that broadcasts it."""
    if node.op_type not in _FOLDED:
        return False
    if all(made_by.get(name) == index for name in sources):
        return True
    newest = next(name for name in sources if made_by.get(name) == index)
    return graph.shape(newest) == graph.shape(node.output[0])


class _Graph:
    """A graph with the shape, the type and the maker of every tensor."""

    def __init__(self, name: str, model: onnx.ModelProto) -> None:
        self._name = name
        self._one_image(model)
        inferred = _inferred(name, model).graph
        self.nodes = list(inferred.node)
        if any(attribute.HasField("g") or attribute.graphs for n in self.nodes for attribute in n.attribute):
            raise InputError(f"{name} has branches or loops; what it takes depends on its input")
        if uncounted := next((node.op_type for node in self.nodes if node.op_type in _UNCOUNTED), None):
            raise InputError(f"{name} has {uncounted} nodes, whose multiply-accumulates are not counted")
        self._maker = {output: node for node in self.nodes for output in node.output}
        self._initializers = {tensor.name: tensor for tensor in inferred.initializer}
        self._values = {v.name: v.type.tensor_type for v in (*inferred.input, *inferred.value_info)}
        self._values |= {value.name: value.type.tensor_type for value in inferred.output}
        self._constants = set(self._initializers)
        for node in self.nodes:
            if node.op_type in _CONSTANT or all(name in self._constants for name in node.input if name):
                self._constants.update(node.output)
        self._results = {self.root(value.name) for value in inferred.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for tensor in node.input:
                self._readers.setdefault(tensor, []).append(node)

    @staticmethod
    def _one_image(model: onnx.ModelProto) -> None:
        """Fix a dynamic batch to 1, and forget the shapes that were noted for another."""
        for value in model.graph.input:
            for dimension in value.type.tensor_type.shape.dim[:1]:
                if dimension.dim_value <= 0:
                    dimension.dim_value = 1
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        del model.graph.value_info[:]

    def is_constant(self, node: onnx.NodeProto) -> bool:
        return all(name in self._constants for name in node.output)

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """A node's inputs that are no constants."""
        return [name for name in node.input if name and name not in self._constants]

    def shape(self, tensor: str) -> tuple[int, ...]:
        if tensor in self._initializers:
            return tuple(self._initializers[tensor].dims)
        value = self._values.get(tensor)
        if value is None or not value.HasField("shape"):
            raise self._unknown(tensor)
        if not all(dimension.HasField("dim_value") for dimension in value.shape.dim):
            raise self._unknown(tensor)
        return tuple(dimension.dim_value for dimension in value.shape.dim)

    def _unknown(self, tensor: str) -> InputError:
        return InputError(f"{self._name}: the size of tensor {tensor!r} is not known; export fixed sizes")

    def root(self, tensor: str) -> str:
        """The tensor that lies in memory where this one is read."""
        while (node := self._maker.get(tensor)) is not None and node.op_type in _PASSED_ON:
            tensor = node.input[0]
        return tensor

    def bits(self, tensor: str) -> int:
        """Bits of an element as it is stored."""
        tensor = self.root(tensor)
        node = self._maker.get(tensor)
        if node is not None and node.op_type in _MOVES:
            inputs = self.activations(node) or node.input[:1]
            return max(self.bits(name) for name in inputs)
        initializer = self._initializers.get(tensor)
        kind = initializer.data_type if initializer is not None else self._values[tensor].elem_type
        return _bits(kind)

    def size(self, tensor: str) -> int:
        """Bytes of a tensor as it is stored."""
        return (prod(self.shape(self.root(tensor))) * self.bits(tensor) + 7) // 8

    def cost(self, layer: Sequence[onnx.NodeProto]) -> LayerCost:
        macs = [self._macs(node) for node in layer]
        own = [not self.is_constant(node) and node.op_type not in _PASSED_ON for node in layer]
        main = layer[max(range(len(layer)), key=lambda index: (macs[index], own[index]))]
        weights = sum(map(self.size, self._weights(layer)))
        read, written = self._traffic(layer)
        moved = sum(map(self.size, read | written))
        operands = main.input[:2] if sum(macs) else main.input[:1]
        widest = max((self.bits(name) for name in operands if name), default=32)
        return LayerCost(
            name_of(main),
            main.op_type,
            tuple(map(name_of, layer)),
            sum(macs),
            weights + moved,
            next((bits for bits in (8, 16) if widest <= bits), 32),
            weights,
        )

    def _weights(self, layer: Iterable[onnx.NodeProto]) -> set[str]:
        """Constants that a layer's arithmetic reads: no scales, zero points, limits, axes and sizes."""
        nodes = [n for n in layer if not self.is_constant(n) and n.op_type not in (*_QUANTIZE, *_VIEWS)]
        names = {self.root(name) for node in nodes for name in node.input if name in self._constants}
        return {name for name in names if self.shape(name) and self.bits(name) <= 32}

    def _traffic(self, layer: Iterable[onnx.NodeProto]) -> tuple[set[str], set[str]]:
        """Tensors that a layer reads from others, and writes for others."""
        inside = {id(node) for node in layer}
        made = {name for node in layer for name in node.output if name}
        read = {self.root(name) for node in layer for name in self.activations(node)} - made
        used = {name for name in made if any(id(node) not in inside for node in self._readers.get(name, []))}
        written = {self.root(name) for name in used} | (made & self._results)
        return read - self._constants, (written & made) - self._constants

    def _macs(self, node: onnx.NodeProto) -> int:
        count = _MACS.get(node.op_type)
        if count is None:
            return 0
        return count(self.shape(node.input[0]), self.shape(node.input[1]), self.shape(node.output[0]))


Shape = tuple[int, ...]

_UNCOUNTED = {
    *("Einsum", "LSTM", "GRU", "RNN", "DeformConv", "Attention", "MultiHeadAttention", "GroupQueryAttention"),
    *(
        "QAttention",
        "FusedConv",
        "FusedMatMul",
        "FusedGemm",
        "NhwcConv",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    ),
    *("ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulNBits"),
}
"""Operators that compute much, and of which a count of zero would be wrong."""

_MACS: Mapping[str, Callable[[Shape, Shape, Shape], int]] = {
    # [M, C / groups, *kernel]: each output is a sum over all but the first
    "Conv": lambda data, weight, out: prod(out) * prod(weight[1:]),
    # [C, M / groups, *kernel]: each input goes into as many sums
    "ConvTranspose": lambda data, weight, out: prod(data) * prod(weight[1:]),
    "Gemm": lambda data, weight, out: prod(data) * prod(weight) // _inner(data, weight, out),
    "MatMul": lambda data, weight, out: prod(out) * data[-1],
}


def _inner(data: Shape, weight: Shape, out: Shape) -> int:
    """K of ``[M, K] @ [K, N]`` whichever is transposed."""
    return data[0] * data[1] // out[0]


def _inferred(name: str, model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # onnx's and protobuf's errors share no base class
        line = str(error).splitlines()[0]
        raise InputError(f"{name}: the sizes of its tensors can't be inferred: {line}") from error


def _bits(kind: int) -> int:
    """Bits of one element of an ONNX type."""
    from onnx import TensorProto, helper

    four = [getattr(TensorProto, name, None) for name in ("INT4", "UINT4", "FLOAT4E2M1")]
    if kind in four:
        return 4
    return int(helper.tensor_dtype_to_np_dtype(kind).itemsize * 8)
