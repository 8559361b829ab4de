"""The network that backends are tried on: small, made of operators that every toolchain takes, and right.

Three convolutions (one of them depthwise), a residual addition, sixteen features, three classes. Its weights
come from a seed and from the class means of generated pictures, so it classifies others of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper

from edgetl.backends.base import Float32, UInt8
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import INPUT, graft_prefix, set_metadata
from edgetl.exporting.graph import save
from edgetl.exporting.head import HeadRanges, add_head

SIDE = 32
FEATURES = 16
CLASSES = ("blue", "green", "red")
CONTRACT = Contract(SIDE, SIDE, "shorter", 36, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CONVOLUTIONS = ("conv0", "conv1", "conv2")
_OPSET = 17
_IR = 9
_FITTED_ON = range(1000, 1024)


@dataclass(frozen=True)
class Network:
    """The network's files.

    Attributes:
        foreign: takes ``float32 [N, 3, 32, 32]``, as somebody else's ONNX does.
        backbone: ``uint8 [N, 32, 32, 3]`` to features ``float32 [N, 16]``.
        model: ``uint8 [N, 32, 32, 3]`` to logits ``float32 [N, 3]``, contract and labels inside.
        weight: of its head, ``float32 [3, 16]``.
        bias: of its head, ``float32 [3]``.
    """

    foreign: Path
    backbone: Path
    model: Path
    weight: Float32
    bias: Float32


def pictures(numbers: Iterable[int]) -> UInt8:
    """Smooth pictures, ``uint8 [n, 32, 32, 3]``; the class of each is its number modulo 3."""
    return np.stack([_picture(number) for number in numbers])


def _picture(number: int) -> UInt8:
    """A coloured gradient with a little noise."""
    rng = np.random.default_rng(number)
    slope = np.linspace(0, 1, SIDE)[:, None, None] * rng.uniform(20, 80, 3)
    pixels = rng.uniform(0, 60, 3) + slope + rng.normal(0, 6, (SIDE, SIDE, 3))
    pixels[..., 2 - number % 3] += 110
    return pixels.clip(0, 255).astype(np.uint8)


def write_network(folder: Path) -> Network:
    """Write the network's three files into an existing folder; the same bytes every time on one machine."""
    foreign, backbone, model = (folder / f"{name}.onnx" for name in ("foreign", "backbone", "model"))
    bare = _convolutions()
    save(graft_prefix(bare, CONTRACT), backbone)
    weight, bias = _class_means(answers(backbone, pictures(_FITTED_ON)))
    somebodys = add_head(bare, weight, bias)
    somebodys.graph.node[-1].name = "gemm"
    save(somebodys, foreign)
    network = Network(foreign, backbone, model, weight, bias)
    write_with_head(network, backbone, model)
    return network


def write_with_head(
    network: Network, backbone: Path, out: Path, *, batch: int | None = None, ranges: HeadRanges | None = None
) -> Path:
    """Write a float or quantized backbone with the network's head, contract and labels, as a run does.

    Args:
        batch: fixed batch size; None leaves it dynamic.
        ranges: given, the head is quantized too.
    """
    model = add_head(onnx.load(backbone), network.weight, network.bias, ranges=ranges)
    set_metadata(model, CONTRACT, CLASSES)
    if batch:
        for value in (*model.graph.input, *model.graph.output):
            dimension = value.type.tensor_type.shape.dim[0]
            dimension.ClearField("dim_param")
            dimension.dim_value = batch
        del model.graph.value_info[:]
    save(model, out)
    return out


def answers(model: Path, images: UInt8) -> Float32:
    """What ONNX's reference implementation computes of ``uint8 [N, 32, 32, 3]``: ``float32 [N, outputs]``."""
    from onnx.reference import ReferenceEvaluator

    logits, *_ = ReferenceEvaluator(onnx.load(model)).run(None, {INPUT: images})
    return np.asarray(logits, np.float32)


def with_made_up_operator(model: Path, name: str) -> bytes:
    """The model with one more node before its output, of an operator that no toolchain knows."""
    changed = onnx.load(model)
    graph = changed.graph
    last, output = graph.node[-1], graph.output[0].name
    last.output[0] = f"{output}_before"
    graph.node.append(helper.make_node(name, [last.output[0]], [output], name="made_up", domain="example"))
    changed.opset_import.append(helper.make_opsetid("example", 1))
    data: bytes = changed.SerializeToString(deterministic=True)
    return data


def _convolutions() -> onnx.ModelProto:
    """``image: float32 [N, 3, 32, 32] → features: float32 [N, 16]``."""
    rng = np.random.default_rng(0)
    shapes = ((FEATURES, 3, 3, 3), (FEATURES, 1, 3, 3), (FEATURES, FEATURES, 3, 3))
    weights = []
    for index, shape in enumerate(shapes):
        kernel = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        bias = rng.normal(0, 0.1, FEATURES).astype(np.float32)
        weights += [numpy_helper.from_array(kernel, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
    nodes = [
        _convolution(0, "image", strides=(2, 2)),
        helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
        _convolution(1, "r0", group=FEATURES),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        _convolution(2, "r1"),
        helper.make_node("Add", ["c2", "r0"], ["sum"], name="add"),
        helper.make_node("Relu", ["sum"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["features"], name="flatten", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", FEATURES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    checker.check_model(model, full_check=True)
    return model


def _convolution(index: int, tensor: str, strides: Sequence[int] = (1, 1), group: int = 1) -> onnx.NodeProto:
    return helper.make_node(
        "Conv",
        [tensor, f"w{index}", f"b{index}"],
        [f"c{index}"],
        name=CONVOLUTIONS[index],
        strides=list(strides),
        pads=[1, 1, 1, 1],
        group=group,
    )


def _class_means(features: Float32) -> tuple[Float32, Float32]:
    """A linear head for features ``[n, 16]`` of the pictures fitted on: the nearest class mean.

    Returns:
        Weight ``[3, 16]`` and bias ``[3]``.
    """
    labels = np.array([number % len(CLASSES) for number in _FITTED_ON])
    means = np.stack([features[labels == label].mean(0) for label in range(len(CLASSES))])
    weight = means - means.mean(0)
    bias = -(weight * (means + means.mean(0)) / 2).sum(1)
    scale = 4 / np.abs(bias).max()  # logits as large as a trained model's
    return (scale * weight).astype(np.float32), (scale * bias).astype(np.float32)
