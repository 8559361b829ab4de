"""Where an operator's function writes to: it asks for inputs in the kind it needs, and gets tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import numpy.typing as npt

from edgetl.backends.litert.constant import Constant
from edgetl.backends.litert.flatbuffer import Flatbuffer, Scales
from edgetl.backends.litert.graph import Graph, Node, Quant, Refusal, Tensor
from edgetl.backends.litert.layout import constant_nhwc, nhwc

_LARGEST_BIAS = 2**30


class Lowering:
    """Writes one graph's nodes, each in integers where its inputs, weights and output are quantized.

    Attributes:
        integer: whether the node at hand is computed in integers.
        pixels: whether the file takes pixels, as LiteRT on a CPU does, or int8, for processors of integers.
        entry: the file's input.
        flattened: ONNX shapes of image tensors that were flattened in TFLite's order, by the result's name.
    """

    def __init__(self, graph: Graph, file: Flatbuffer, *, pixels: bool) -> None:
        self.graph = graph
        self.file = file
        self.integer = False
        self.entry = -1
        self.flattened: dict[str, tuple[int, ...]] = {}
        self.pixels = pixels
        self._made: dict[tuple[str, Quant | None], int] = {}

    def start(self, node: Node) -> None:
        """Decide how a node is computed."""
        tensors = [self.of(name) for name in (*self.graph.activations(node), node.output)]
        self.integer = all(tensor.quant is not None for tensor in tensors)
        if node.operator in ("Conv", "Gemm", "MatMul"):
            self.integer &= self.constant(node, 1).quantized

    def of(self, name: str) -> Tensor:
        """What is known of an activation.

        Raises:
            Refusal: if its shape is not.
        """
        if name not in self.graph.tensors:
            raise Refusal(f"the shape of {name} is not known")
        return self.graph.tensors[name]

    def quant(self, name: str) -> Quant:
        found = self.of(name).quant
        assert found is not None  # asked for integer nodes only
        return found

    def constant(self, node: Node, index: int) -> Constant:
        """A constant input.

        Raises:
            Refusal: if it is computed in the graph.
        """
        found = self.graph.constants.get(node.inputs[index])
        if found is None:
            raise Refusal(f"input {index} is computed in the graph; it must be a constant")
        return found

    def input(self, name: str, quant: Quant | None = None) -> int:
        """An activation for the node at hand: float, or integers of its own quantization or of ``quant``."""
        wanted = (quant or self.quant(name)) if self.integer else None
        return self.value(name, wanted)

    def value(self, name: str, wanted: Quant | None) -> int:
        """An activation with a quantization (None: in float), converted where it has another."""
        if (name, wanted) in self._made:
            return self._made[name, wanted]
        tensor = self.of(name)
        source = self._made.get((name, tensor.quant))
        if source is None:
            raise Refusal(f"{name} is not computed before it is used")
        target = self._tensor(name, tensor, wanted)
        if wanted is None:
            self.file.operator("DEQUANTIZE", [source], [target], schema.DequantizeOptionsT())
        else:
            self.file.operator("QUANTIZE", [source], [target], schema.QuantizeOptionsT())
        self._made[name, wanted] = target
        return target

    def enter(self, quant: Quant) -> int:
        """The engine's input, grey levels less 128, as integers of ``quant``."""
        name, shape = self.graph.input, self.of(self.graph.input).shape
        if not self.pixels:
            self.entry = self.file.tensor(name, shape, "int8", scales(quant))
            return self.entry
        unsigned = scales(Quant(quant.scale, quant.zero + 128))
        self.entry = self.file.tensor(name, shape, "uint8", unsigned)
        signed = self.file.tensor(f"{name}/signed", shape, "int8", scales(quant))
        self.file.operator("QUANTIZE", [self.entry], [signed], schema.QuantizeOptionsT())
        return signed

    def levels(self) -> int:
        """The engine's input, grey levels in float.

        Raises:
            Refusal: if the engine's input is to be integers.
        """
        if not self.pixels:
            raise Refusal("the first layer takes float; an engine of integers only can't have it")
        shape = self.of(self.graph.input).shape
        unsigned = scales(Quant(1.0, 0))
        self.entry = self.file.tensor(self.graph.input, shape, "uint8", unsigned)
        made = self.file.tensor(f"{self.graph.input}/real", shape, "float32")
        self.file.operator("DEQUANTIZE", [self.entry], [made], schema.DequantizeOptionsT())
        return made

    def alias(self, name: str, made: int) -> None:
        """An activation is an existing tensor, of the quantization the graph gives it."""
        self._made[name, self.of(name).quant] = made

    def output(self, node: Node, quant: Quant | None = None) -> int:
        """The node's result, with the quantization the graph gives it, or ``quant`` where TFLite fixes it."""
        tensor = self.of(node.output)
        if self.integer:
            tensor.quant = quant or tensor.quant
            return self.define(node.output, tensor.quant)
        return self.define(node.output, None)

    def define(self, name: str, quant: Quant | None) -> int:
        """A new tensor that holds an activation."""
        made = self._made[name, quant] = self._tensor(name, self.of(name), quant)
        return made

    def finish(self, node: Node) -> None:
        """Quantize the result of a float node whose users take integers."""
        tensor = self.of(node.output)
        if tensor.quant is not None and not self.integer:
            source = self._made[node.output, None]
            target = self._made[node.output, tensor.quant] = self._tensor(node.output, tensor, tensor.quant)
            self.file.operator("QUANTIZE", [source], [target], schema.QuantizeOptionsT())

    def _tensor(self, name: str, tensor: Tensor, quant: Quant | None) -> int:
        if quant is None:
            return self.file.tensor(f"{name}/real" if tensor.quant else name, nhwc(tensor.shape), "float32")
        label = name if quant == tensor.quant else f"{name}/{quant.scale:.6g}/{quant.zero}"
        return self.file.tensor(label, nhwc(tensor.shape), "int8", scales(quant))

    def beside(self, name: str, node: Node, rank: int) -> int:
        """An operand of an elementwise operator: an activation, or a constant in the same kind."""
        if name not in self.graph.constants:
            return self.input(name)
        value = constant_nhwc(self.graph.constants[name].value, rank)
        label = f"{node.name}/{name}"
        if not self.integer:
            return self.file.tensor(label, value.shape, "float32", data=value)
        quant = Quant.covering(float(value.min()), float(value.max()))
        return self.file.tensor(label, value.shape, "int8", scales(quant), quant.integers(value))

    def numbers(self, node: Node, name: str, values: Sequence[Any] | npt.NDArray[Any]) -> int:
        """A constant of 32-bit integers, as shapes and axes are."""
        data = np.asarray(values, np.int32)
        return self.file.tensor(f"{node.name}/{name}", data.shape, "int32", data=data)

    def number(self, node: Node, name: str, value: float, quant: Quant | None) -> int:
        """A constant of one real number, as an integer of ``quant`` or (None) in float."""
        label, data = f"{node.name}/{name}", np.asarray([value])
        if quant is None:
            return self.file.tensor(label, [1], "float32", data=data)
        return self.file.tensor(label, [1], "int8", scales(quant), quant.integers(data))

    def intermediate(self, node: Node, name: str, shape: Sequence[int], quant: Quant | None) -> int:
        """A tensor inside what becomes of one node; ``shape`` is TFLite's."""
        label = f"{node.name}/{name}"
        if quant is None:
            return self.file.tensor(label, shape, "float32")
        return self.file.tensor(label, shape, "int8", scales(quant))

    def weighted(
        self,
        node: Node,
        data: npt.NDArray[Any],
        axis: int,
        bias: npt.NDArray[Any],
        along: npt.NDArray[np.float64] | None,
        source: Quant | None,
    ) -> list[int]:
        """Weights and bias of a node.

        Args:
            data: weights in TFLite's layout, their outputs on ``axis``.
            bias: real numbers.
            along: the weights' scale for each output; None in float.
            source: quantization of what is multiplied by the weights.
        """
        labels = [f"{node.name}/{name}" for name in ("weights", "bias")]
        if along is None or source is None:
            pairs = zip(labels, (data, bias), strict=True)
            return [self.file.tensor(label, part.shape, "float32", data=part) for label, part in pairs]
        # where weights are next to nothing beside their bias, it would not fit into 32 bits
        roomy = np.maximum(along, np.abs(bias) / (source.scale * _LARGEST_BIAS))
        if (roomy > along).any():
            shape = [-1 if index == axis else 1 for index in range(data.ndim)]
            data = np.rint(data * (along / roomy).reshape(shape))
        scale, none = roomy * source.scale, np.zeros(len(roomy), np.int64)
        weights = Scales(roomy.astype(np.float32), none, axis)
        biases = Scales(scale.astype(np.float32), none)
        return [
            self.file.tensor(labels[0], data.shape, "int8", weights, data),
            self.file.tensor(labels[1], bias.shape, "int32", biases, np.rint(bias / scale)),
        ]


def scales(quant: Quant) -> Scales:
    """A quantization as the file has it."""
    return Scales(np.asarray([quant.scale], np.float32), np.asarray([quant.zero], np.int64))
