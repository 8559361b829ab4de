"""What the converter sees of an ONNX graph: operators, tensors with a quantization each, constants.

``QuantizeLinear`` and ``DequantizeLinear`` are gone: they have become a property of the tensor between them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, checker, defs, helper, numpy_helper, shape_inference

from edgetl.backends.litert.constant import Constant

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""Operators that leave the numbers and their order alone."""
UNREAD = ""
_SAME = ("Identity", "Dropout")
_SMALL = 64
"""Elements of a constant that may be a shape."""
_EIGHT_BITS = {np.dtype(np.int8): 0, np.dtype(np.uint8): 128}


class Refusal(Exception):
    """Why one node can't be converted, in a few words."""


@dataclass(frozen=True)
class Quant:
    """``real = scale * (q - zero)`` for ``q`` from -128 to 127."""

    scale: float
    zero: int

    @property
    def low(self) -> float:
        return self.scale * (-128 - self.zero)

    @property
    def high(self) -> float:
        return self.scale * (127 - self.zero)

    @classmethod
    def covering(cls, low: float, high: float) -> Quant:
        """The finest one whose range holds zero and both ends."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / 255)) or 1.0
        return cls(scale, int(np.clip(round(-128 - low / scale), -128, 127)))

    def integers(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        found = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero
        integers: npt.NDArray[np.int8] = np.clip(found, -128, 127).astype(np.int8)
        return integers


@dataclass
class Tensor:
    """An activation: ``shape`` is ONNX's (NCHW).

    ``shift`` is what the rounding of its zero point has left: ``real = scale * (q - zero + shift)``.
    """

    shape: tuple[int, ...]
    quant: Quant | None = None
    shift: float = 0.0


@dataclass
class Node:
    """An operator; ``refused`` says why one could not be read, which is called ``UNREAD`` then."""

    name: str
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "NONE"
    refused: str | None = None

    @property
    def output(self) -> str:
        return self.outputs[0]


@dataclass
class Graph:
    """Nodes in order of execution; ``tensors`` and ``constants`` by name."""

    nodes: list[Node]
    tensors: dict[str, Tensor]
    constants: dict[str, Constant]
    input: str
    output: str
    output_name: str

    def uses(self) -> Counter[str]:
        """How often each tensor is read; the graph's output counts once more."""
        return Counter([name for node in self.nodes for name in node.inputs if name] + [self.output])

    def producers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs}

    def activations(self, node: Node) -> list[str]:
        """The node's inputs that are no constants."""
        return [name for name in node.inputs if name and name not in self.constants]


def read_graph(model: onnx.ModelProto, batch: int) -> Graph:
    """The graph of a model with its batch fixed.

    Raises:
        onnx.shape_inference.InferenceError: if the model contradicts itself.
    """
    reader = _Reader(model.graph, _shapes(model, batch))
    context = checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    for node in model.graph.node:
        try:
            _check(node, context)
            reader.read(node)
        except Refusal as reason:
            line = describe(node.name or node.output[0], node.op_type, reason)
            inputs = [reader.name(name) for name in node.input]
            reader.nodes.append(Node(line, UNREAD, inputs, list(node.output), refused=line))
    output = model.graph.output[0].name
    graph = Graph(
        reader.nodes,
        reader.tensors,
        reader.constants,
        real_inputs(model.graph)[0].name,
        reader.name(output),
        output,
    )
    _drop_unused(graph)
    return graph


def _check(node: onnx.NodeProto, context: Any) -> None:
    """That a node of ONNX's own is one by ONNX's rules, so that whoever reads it may rely on them.

    Raises:
        Refusal: if it is not.
    """
    try:
        if not node.domain and defs.has(node.op_type):
            checker.check_node(node, context)
    except checker.ValidationError as error:
        raise Refusal(" ".join(str(error).split())) from error


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are no constants, which old files list too."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def describe(name: str, operator: str, reason: object) -> str:
    return f"{name} ({operator}): {reason}"


class _Reader:
    """Turns ONNX nodes into ours, one after the other."""

    def __init__(self, graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.nodes: list[Node] = []
        self.constants = {
            tensor.name: Constant(numpy_helper.to_array(tensor)) for tensor in graph.initializer
        }
        self.tensors = {name: Tensor(shape) for name, shape in shapes.items() if name not in self.constants}
        self._same: dict[str, str] = {}

    def name(self, tensor: str) -> str:
        """The tensor that stands for this one."""
        while tensor in self._same:
            tensor = self._same[tensor]
        return tensor

    def read(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            self.constants[node.output[0]] = Constant(_constant(attributes))
        elif node.op_type in _SAME:
            self._same[node.output[0]] = node.input[0]
        elif node.op_type == _QUANTIZE:
            self._quantize(node)
        elif node.op_type == _DEQUANTIZE:
            self._dequantize(node, attributes.get("axis", 1))
        else:
            # what comes of a reshape is known from its result's shape
            given = node.input[:1] if node.op_type in MOVES else node.input
            inputs = [self.name(name) for name in given]
            name = node.name or node.output[0]
            self.nodes.append(Node(name, node.op_type, inputs, list(node.output), attributes))

    def _quantize(self, node: onnx.NodeProto) -> None:
        """A tensor is quantized as its first Quantize says; another one requantizes it."""
        source, quantized = self.name(node.input[0]), node.output[0]
        if source in self.constants:
            raise Refusal("a constant is quantized in the graph; fold it first")
        quant = self._quant(node)
        tensor = self._tensor(source)
        if tensor.quant is None:
            tensor.quant = quant
        if tensor.quant == quant:
            self._same[quantized] = source
            return
        self.tensors[quantized] = Tensor(tensor.shape, quant)
        self.nodes.append(Node(node.name or quantized, "Requantize", [source], [quantized]))

    def _dequantize(self, node: onnx.NodeProto, axis: int) -> None:
        source, real = self.name(node.input[0]), node.output[0]
        if source in self.constants:
            self.constants[real] = self._dequantized(node, axis)
            return
        tensor = self._tensor(source)
        if tensor.quant is None:
            tensor.quant = self._quant(node)
        elif len(node.input) > 2 and tensor.quant != self._quant(node):
            raise Refusal("it has another scale or zero point than the Quantize before it")
        self._same[real] = source

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise Refusal("the shape of its input is not known")
        return self.tensors[name]

    def _quant(self, node: onnx.NodeProto) -> Quant:
        scale = self.constants.get(node.input[1])
        zero = self._zero(node)
        if scale is None or zero is None:
            raise Refusal("its scale or zero point is no constant")
        if scale.value.size != 1 or zero.size != 1:
            raise Refusal("an activation with several scales")
        if zero.dtype not in _EIGHT_BITS:
            raise Refusal(f"quantized to {zero.dtype}; only 8 bits are")
        if not 0 < scale.value.item() < np.inf:
            raise Refusal(f"a scale of {scale.value.item()}")
        return Quant(float(scale.value.item()), int(zero.reshape(())) - _EIGHT_BITS[zero.dtype])

    def _zero(self, node: onnx.NodeProto) -> npt.NDArray[Any] | None:
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(1, np.uint8)  # what ONNX says where there is none
        found = self.constants.get(node.input[2])
        return None if found is None else found.value

    def _dequantized(self, node: onnx.NodeProto, axis: int) -> Constant:
        stored = self.constants[self.name(node.input[0])].stored
        scale = self.constants.get(node.input[1])
        zero = self._zero(node) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.int8)
        if scale is None or zero is None:
            raise Refusal("its scale or zero point is no constant")
        if scale.stored.ndim > 1:
            raise Refusal("a constant with scales for blocks")
        along = scale.stored.astype(np.float64).reshape(-1)
        return Constant(stored, along, zero.astype(np.int64).reshape(-1), axis % max(stored.ndim, 1))


def _constant(attributes: Mapping[str, Any]) -> npt.NDArray[Any]:
    (name, value), *_ = attributes.items()
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if name.startswith("value_"):
        return np.asarray(value)
    raise Refusal(f"a constant given as {name}")


def _shapes(model: onnx.ModelProto, batch: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors whose sizes are known once the batch is.

    Only small constants, which may be shapes, go into the inference; it would copy the weights.
    """
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = bare.graph
    graph.name = "shapes"
    graph.node.extend(model.graph.node)
    graph.input.extend(real_inputs(model.graph))
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in model.graph.output:
        kind = value.type.tensor_type.elem_type
        graph.output.append(helper.make_tensor_value_info(value.name, kind, None))
    inferred = shape_inference.infer_shapes(bare, data_prop=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    shapes = {}
    for value in values:
        if value.type.tensor_type.HasField("shape"):
            sizes = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            if all(size > 0 for size in sizes):
                shapes[value.name] = sizes
    return shapes


def _drop_unused(graph: Graph) -> None:
    """Nodes that nothing reads, as those that computed the shape of a Reshape."""
    needed, kept = {graph.output}, []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            kept.append(node)
            needed |= set(node.inputs)
    graph.nodes[:] = reversed(kept)
