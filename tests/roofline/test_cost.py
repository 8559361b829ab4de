"""Costs against counts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.conformance.network import write_network
from edgetl.errors import InputError
from edgetl.roofline.cost import LayerCost, layer_costs

FLOAT = TensorProto.FLOAT


def saved(
    folder: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: list[int | str],
    output: str = "out",
) -> Path:
    """A model of named nodes from ``x``, float of ``shape``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(output, FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("example", 1)], ir_version=9
    )
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def node(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=f"{op}:{output}", **attributes)


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def only(path: Path) -> LayerCost:
    (cost,) = layer_costs(path)
    return cost


def test_convolution_with_bias_and_relu_is_one_layer(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w", "b"], "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], "out"),
    ]
    cost = only(saved(tmp_path, nodes, {"w": f32(8, 3, 3, 3), "b": f32(8)}, ["N", 3, 10, 10]))
    assert cost.nodes == ("Conv:c", "Relu:out")
    assert (cost.name, cost.op, cost.bits) == ("Conv:c", "Conv", 32)
    assert cost.macs == 5 * 5 * 8 * 3 * 9
    assert cost.weights == 4 * (8 * 27 + 8)
    assert cost.bytes == 4 * (300 + 200) + cost.weights


def test_depthwise_and_grouped_convolutions_sum_over_their_group_only(tmp_path: Path) -> None:
    depthwise = [node("Conv", ["x", "w"], "out", group=12, pads=[1, 1, 1, 1])]
    assert only(saved(tmp_path, depthwise, {"w": f32(12, 1, 3, 3)}, [1, 12, 7, 7])).macs == 7 * 7 * 12 * 9
    grouped = [node("Conv", ["x", "w"], "out", group=3)]
    assert only(saved(tmp_path, grouped, {"w": f32(6, 4, 1, 1)}, [1, 12, 7, 7])).macs == 7 * 7 * 6 * 4


def test_transposed_convolution(tmp_path: Path) -> None:
    nodes = [node("ConvTranspose", ["x", "w"], "out", strides=[2, 2], group=2)]
    cost = only(saved(tmp_path, nodes, {"w": f32(4, 3, 2, 2)}, [1, 4, 5, 5]))
    assert cost.macs == 5 * 5 * 4 * 3 * 4


@pytest.mark.parametrize(("transposed", "shape"), [(0, (20, 6)), (1, (6, 20))])
def test_gemm(tmp_path: Path, transposed: int, shape: tuple[int, int]) -> None:
    nodes = [node("Gemm", ["x", "w", "b"], "out", transB=transposed)]
    cost = only(saved(tmp_path, nodes, {"w": f32(*shape), "b": f32(6)}, ["N", 20]))
    assert cost.macs == 120
    assert cost.bytes == 4 * (20 + 120 + 6 + 6)


def test_matmul_with_its_bias_and_of_two_activations(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], "p"),
        node("Add", ["p", "b"], "q"),
        node("Transpose", ["q"], "t", perm=[0, 2, 1]),
        node("MatMul", ["q", "t"], "out"),
    ]
    first, second = layer_costs(saved(tmp_path, nodes, {"w": f32(8, 6), "b": f32(6)}, ["N", 5, 8]))
    assert first.macs == 5 * 6 * 8
    assert first.nodes == ("MatMul:p", "Add:q", "Transpose:t")
    assert second.macs == 5 * 5 * 6


def quantized(tensor: str, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> str:
    """Q and DQ of an activation; returns the tensor after them."""
    weights |= {"s": np.float32(0.1), "z": np.uint8(0)}
    nodes += [
        node("QuantizeLinear", [tensor, "s", "z"], f"{tensor}_q"),
        node("DequantizeLinear", [f"{tensor}_q", "s", "z"], f"{tensor}_dq"),
    ]
    return f"{tensor}_dq"


def integer_weight(name: str, shape: tuple[int, ...], nodes: list[onnx.NodeProto], weights: dict) -> str:
    weights |= {name: np.zeros(shape, np.int8), "ws": np.float32(0.1), "wz": np.int8(0)}
    nodes.append(node("DequantizeLinear", [name, "ws", "wz"], f"{name}_dq"))
    return f"{name}_dq"


def test_between_q_and_dq_tensors_have_eight_bits(tmp_path: Path) -> None:
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {}
    tensor = quantized("x", nodes, weights)
    kernel = integer_weight("w", (8, 3, 1, 1), nodes, weights)
    nodes += [node("Conv", [tensor, kernel], "c"), node("Relu", ["c"], "r")]
    tensor = quantized("r", nodes, weights)
    nodes.append(node("MaxPool", [tensor], "m", kernel_shape=[2, 2], strides=[2, 2]))
    kernel = integer_weight("v", (4, 8, 1, 1), nodes, weights)
    nodes.append(node("Conv", ["m", kernel], "d"))
    nodes.append(node("Flatten", [quantized("d", nodes, weights)], "out"))
    quantize, first, pool, second = layer_costs(saved(tmp_path, nodes, weights, [1, 3, 4, 4]))
    assert quantize.bytes == 48 * 4 + 48
    assert first.nodes[0] == "DequantizeLinear:w_dq"
    assert first.nodes[-1] == "DequantizeLinear:r_dq"
    assert (first.bits, first.macs, first.bytes) == (8, 16 * 8 * 3, 48 + 24 + 128)
    assert (pool.op, pool.macs, pool.bytes) == ("MaxPool", 0, 128 + 32)  # it picks integers among integers
    assert (second.bits, second.bytes) == (8, 32 + 32 + 16)
    assert second.nodes[-1] == "Flatten:out"


def test_a_float_convolution_in_a_quantized_graph_has_float_bytes(tmp_path: Path) -> None:
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {"w": f32(8, 3, 1, 1)}
    tensor = quantized("x", nodes, weights)
    nodes.append(node("Conv", [tensor, "w"], "out"))
    cost = layer_costs(saved(tmp_path, nodes, weights, [1, 3, 4, 4]))[-1]
    assert (cost.bits, cost.bytes) == (32, 48 + 24 * 4 + 128 * 4)


def test_half_precision(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], "h", to=TensorProto.FLOAT16),
        node("Conv", ["h", "w"], "c"),
        node("Cast", ["c"], "out", to=FLOAT),
    ]
    cost = layer_costs(saved(tmp_path, nodes, {"w": np.zeros((8, 3, 1, 1), np.float16)}, [1, 3, 4, 4]))[-1]
    assert (cost.bits, cost.weights) == (16, 48)
    assert cost.bytes == 48 * 2 + 48 + 128 * 4


def test_a_residual_addition_folds_into_the_later_convolution(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("Conv", ["c", "w"], "d"),
        node("Add", ["d", "c"], "s"),
        node("Relu", ["s"], "out"),
    ]
    first, second = layer_costs(saved(tmp_path, nodes, {"w": f32(3, 3, 1, 1)}, [1, 3, 4, 4]))
    assert first.nodes == ("Conv:c",)
    assert second.nodes == ("Conv:d", "Add:s", "Relu:out")
    assert second.bytes == 4 * (48 + 9 + 48)  # the input is read once, though it is used twice


def test_squeeze_and_excite_is_layers_of_its_own_and_its_gate_folds(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("Sigmoid", ["c"], "g"),
        node("Mul", ["c", "g"], "a"),
        node("GlobalAveragePool", ["a"], "p"),
        node("Conv", ["p", "w"], "e"),
        node("HardSigmoid", ["e"], "h"),
        node("Mul", ["a", "h"], "out"),
    ]
    costs = layer_costs(saved(tmp_path, nodes, {"w": f32(3, 3, 1, 1)}, [1, 3, 4, 4]))
    assert [cost.nodes for cost in costs] == [
        ("Conv:c", "Sigmoid:g", "Mul:a"),
        ("GlobalAveragePool:p",),
        ("Conv:e", "HardSigmoid:h"),
        ("Mul:out",),
    ]
    assert costs[3].bytes == 4 * (48 + 3 + 48)


def test_shapes_computed_from_shapes_cost_nothing(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], "n"),
        node("Gather", ["n", "zero"], "first"),
        node("Concat", ["first", "rest"], "target", axis=0),
        node("Reshape", ["x", "target"], "flat"),
        node("MatMul", ["flat", "w"], "out"),
    ]
    weights = {"zero": np.array([0]), "rest": np.array([48]), "w": f32(48, 2)}
    cost = only(saved(tmp_path, nodes, weights, ["N", 3, 4, 4]))
    assert (cost.op, cost.macs, cost.bytes) == ("MatMul", 96, 4 * (48 + 96 + 2))


def test_every_node_is_in_one_layer_and_the_totals_are_those_of_the_network(tmp_path: Path) -> None:
    model = write_network(tmp_path).model
    costs = layer_costs(model)
    folded = [name for cost in costs for name in cost.nodes]
    assert sorted(folded) == sorted(entry.name for entry in onnx.load(model).graph.node)
    convolutions = 16 * 16 * 16 * 27 + 16 * 16 * 16 * 9 + 16 * 16 * 16 * 16 * 9
    assert sum(cost.macs for cost in costs) == convolutions + 16 * 3
    assert costs[0].bytes == 32 * 32 * 3 * (1 + 4) + 4 * 6  # pixels in, floats out, mean and std


@pytest.mark.parametrize("op", ["Einsum", "LSTM"])
def test_arithmetic_that_is_not_counted_is_said(tmp_path: Path, op: str) -> None:
    with pytest.raises(InputError, match=f"{op} nodes"):
        layer_costs(saved(tmp_path, [helper.make_node(op, ["x", "x"], ["out"])], {}, [1, 3]))


def test_an_unknown_size_and_a_branch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not known"):
        layer_costs(saved(tmp_path, [node("Relu", ["x"], "out")], {}, [1, 3, "H", "W"]))
    unknown = helper.make_node("Mystery", ["x"], ["m"], name="mystery", domain="example")
    path = saved(tmp_path, [unknown, node("Relu", ["m"], "out")], {}, [1, 3])
    with pytest.raises(InputError, match="is not known"):
        layer_costs(path)
    inside = helper.make_graph(
        [node("Identity", ["x"], "y")], "g", [], [helper.make_tensor_value_info("y", FLOAT, None)]
    )
    branch = node("If", ["yes"], "out", then_branch=inside, else_branch=inside)
    with pytest.raises(InputError, match="branches or loops"):
        layer_costs(saved(tmp_path, [branch], {"yes": np.array(True)}, [1, 3]))
