"""Brings a graph into the shape that TFLite has operators for; every step leaves its meaning alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.backends.litert.graph import MOVES, Graph, Node, Quant, Tensor

Function = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
_KEEPS_RANGE = (*MOVES, "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean")
_ACTIVATED = ("Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "BatchNormalization")
_RESCALES = (*_ACTIVATED, "ReduceMean", "GlobalAveragePool", "AveragePool", "HardSwish", "Requantize")
_FUSED = {(0.0, math.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
PIXELS = "Pixels"
"""What the contract's prefix becomes."""
RANGE_ONE = Quant(1 / 255, -128)
"""From 0 to 1: what a hard sigmoid clips to."""
_PREFIX = ("Cast", "Transpose", "Sub", "Div")


def fuse(graph: Graph) -> None:
    """All steps, in order."""
    _read_pixels(graph)
    _fuse_hard_swish(graph)
    _fuse_hard_sigmoid(graph)
    _infer_ranges(graph)
    _fuse_activations(graph)
    _share_concat_scales(graph)


def _read_pixels(graph: Graph) -> None:
    """The prefix becomes one node, ``Pixels``, with mean and deviation in grey levels (None: none in it)."""
    chain: list[Node] = []
    tensor = graph.input
    for operator in _PREFIX:
        users = [node for node in graph.nodes if tensor in node.inputs]
        if len(users) != 1 or users[0].operator != operator:
            break
        chain.append(users[0])
        tensor = users[0].output
    operators = [node.operator for node in chain]
    if operators == list(_PREFIX):
        names = [node.inputs[1] for node in chain[2:]]
        if any(name not in graph.constants for name in names):
            return
        mean, deviation = (graph.constants[name].value.reshape(-1) for name in names)
        attributes = {"mean": mean, "deviation": deviation}
    else:
        users = [node for node in graph.nodes if graph.input in node.inputs]
        if len(users) != 1 or users[0].operator != "Transpose":
            return
        chain, attributes = users, {}
    last = chain[-1].output
    name = chain[0].name
    graph.nodes[:] = [node for node in graph.nodes if node not in chain]
    graph.nodes.insert(0, Node(name, PIXELS, [graph.input], [last], attributes))
    graph.tensors[graph.input].quant = Quant(1.0, -128)


def _fuse_hard_swish(graph: Graph) -> None:
    """``x * HardSigmoid(x)``, with the sixth and the half that make it HardSwish."""
    producers, uses = graph.producers(), graph.uses()
    for node in [node for node in graph.nodes if node.operator == "Mul"]:
        for gate, other in (node.inputs, node.inputs[::-1]):
            made = producers.get(gate)
            if made is None or made.operator != "HardSigmoid" or made.inputs[0] != other or uses[gate] != 1:
                continue
            slope, offset = hard_sigmoid(made)
            if math.isclose(slope, 1 / 6, rel_tol=1e-4) and math.isclose(offset, 0.5, rel_tol=1e-4):
                node.operator, node.inputs = "HardSwish", [other]
                graph.nodes.remove(made)
                break


def hard_sigmoid(node: Node) -> tuple[float, float]:
    """Slope and offset of a HardSigmoid."""
    return float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))


def _fuse_hard_sigmoid(graph: Graph) -> None:
    """A convolution before a HardSigmoid takes over its slope and offset; its quantized range clips."""
    producers, uses = graph.producers(), graph.uses()
    for node in list(graph.nodes):
        made = producers.get(node.inputs[0]) if node.operator == "HardSigmoid" else None
        quant = graph.tensors[node.output].quant if node.output in graph.tensors else None
        if made is None or quant is None or made.operator != "Conv" or uses[made.output] != 1:
            continue
        between = graph.tensors.get(made.output)
        if (
            not _integer_weights(graph, made)
            or between is None
            or _implied_activation(between.quant) != "NONE"
        ):
            continue
        made.attributes = {**made.attributes, "then": hard_sigmoid(node)}
        made.outputs = node.outputs
        graph.tensors[node.output].quant = RANGE_ONE
        graph.nodes.remove(node)


def _integer_weights(graph: Graph, node: Node) -> bool:
    source = graph.tensors.get(node.inputs[0])
    weights = graph.constants.get(node.inputs[1])
    return bool(source and source.quant and weights and weights.quantized)


def _infer_ranges(graph: Graph) -> None:
    """A tensor between integer nodes gets a range where the file has none and it follows from others."""
    while any(_infer(graph, node) for node in reversed(graph.nodes)):
        pass


def _infer(graph: Graph, node: Node) -> bool:
    result, source = graph.tensors.get(node.output), _only_input(graph, node)
    if result is None or source is None:
        return False
    if node.operator in MOVES and result.quant and not source.quant:
        if graph.uses()[node.inputs[0]] == 1:
            source.quant = result.quant
        return source.quant is not None
    if result.quant or node.output == graph.output or source.quant is None:
        return False
    users = [user for user in graph.nodes if node.output in user.inputs]
    if not all(_takes_integers(graph, user, node.output) for user in users):
        return False
    if node.operator in _KEEPS_RANGE:
        result.quant = source.quant
    elif (function := unary(graph, node)) is not None:
        reals = function(source.quant.scale * (np.arange(-128, 128) - source.quant.zero))
        result.quant = Quant.covering(float(reals.min()), float(reals.max()))
    return result.quant is not None


def _only_input(graph: Graph, node: Node) -> Tensor | None:
    names = graph.activations(node)
    return graph.tensors.get(names[0]) if len(names) == 1 else None


def _takes_integers(graph: Graph, user: Node, name: str) -> bool:
    """Whether a node will be an integer one as soon as this input is."""
    if user.operator in ("Conv", "Gemm", "MatMul"):
        weights = graph.constants.get(user.inputs[1])
        if weights is None or not weights.quantized:
            return False
    others = [other for other in graph.activations(user) if other != name]
    tensors = [graph.tensors.get(other) for other in (*others, user.output)]
    return all(tensor is not None and tensor.quant is not None for tensor in tensors)


def unary(graph: Graph, node: Node) -> Function | None:
    """What a node of one input computes, element by element."""
    if node.operator in ("Relu", "Clip"):
        return _clipper(graph, node)
    if node.operator == "HardSwish":
        return lambda x: x * np.clip(x / 6 + 0.5, 0, 1)
    if node.operator == "HardSigmoid":
        slope, offset = hard_sigmoid(node)
        return lambda x: np.clip(slope * x + offset, 0, 1)
    if node.operator == "Sigmoid":
        return lambda x: 1 / (1 + np.exp(-x))
    return None


def _clipper(graph: Graph, node: Node) -> Function | None:
    limits = clip_limits(graph, node)
    return None if limits is None else lambda x: np.clip(x, *limits)


def clip_limits(graph: Graph, node: Node) -> tuple[float, float] | None:
    """Of a Relu or Clip; None where they are no constants."""
    if node.operator == "Relu":
        return 0.0, math.inf
    found = [-math.inf, math.inf]
    for index, key in enumerate(("min", "max")):
        found[index] = float(node.attributes.get(key, found[index]))
        if len(node.inputs) > index + 1 and (name := node.inputs[index + 1]):
            if name not in graph.constants:
                return None
            found[index] = graph.constants[name].value.item()
    # exporters write "no limit" as the largest float
    low, high = (value if abs(value) < 1e30 else math.copysign(math.inf, value) for value in found)
    return low, high


def fused_activation(limits: tuple[float, float], quant: Quant | None) -> str | None:
    """TFLite's name of a clip that the operator before it does itself; None where it has none."""
    if (
        quant is not None
        and quant.low >= limits[0] - quant.scale / 2
        and quant.high <= limits[1] + quant.scale / 2
    ):
        return "NONE"  # the integers' own range clips
    return _FUSED.get(limits)


def _implied_activation(quant: Quant | None) -> str:
    """What a quantized range may clip instead of an activation: onnxruntime drops those that it does."""
    if quant is None:
        return "NONE"
    for (low, high), name in _FUSED.items():
        if abs(quant.low - low) < quant.scale and abs(quant.high - high) < quant.scale:
            return name
    return "RELU" if quant.zero == -128 else "NONE"


def _fuse_activations(graph: Graph) -> None:
    producers, uses = graph.producers(), graph.uses()
    for node in list(graph.nodes):
        if node.operator not in ("Relu", "Clip"):
            continue
        made, limits = producers.get(node.inputs[0]), clip_limits(graph, node)
        if made is None or limits is None or uses[node.inputs[0]] != 1 or made.activation != "NONE":
            continue
        between, after = graph.tensors.get(node.inputs[0]), graph.tensors.get(node.output)
        if made.operator not in _ACTIVATED or not between or not after or "then" in made.attributes:
            continue
        if between.quant is not None and after.quant is None:
            continue
        activation = fused_activation(limits, after.quant)
        if activation is None:
            continue
        made.activation, made.outputs = activation, node.outputs
        producers[node.output] = made
        graph.nodes.remove(node)


def _share_concat_scales(graph: Graph) -> None:
    """What is only made to be concatenated is made with the result's scale, not requantized to it."""
    producers, uses = graph.producers(), graph.uses()
    for node in graph.nodes:
        if node.operator != "Concat" or (result := graph.tensors.get(node.output)) is None:
            continue
        for name in node.inputs:
            made, source = producers.get(name), graph.tensors.get(name)
            if made is None or source is None or None in (source.quant, result.quant) or uses[name] != 1:
                continue
            if made.operator in _RESCALES and "then" not in made.attributes:
                clips = _implied_activation(source.quant)
                if clips != "NONE" and made.operator not in _ACTIVATED:
                    continue
                made.activation = clips if made.activation == "NONE" else made.activation
                source.quant = result.quant
