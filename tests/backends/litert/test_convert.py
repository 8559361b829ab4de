"""What is the converter's own: the prefix, the two kinds of ends, weights, float parts, refusals, bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends.litert import LiteRtBackend
from edgetl.backends.litert.constant import Constant
from edgetl.backends.litert.convert import convert, refused
from edgetl.backends.litert.flatbuffer import IDENTIFIER
from edgetl.backends.operators import is_quantized
from edgetl.errors import BackendError, InputError
from tests.backends.litert.networks import COLOURED, GREY, TARGET, Lite, Net, last_scale, reference


def two_convolutions(net: Net) -> str:
    narrow = net.node("Relu", net.conv("x", 3, 8, pads=[1, 1, 1, 1], strides=[2, 2]))
    return net.conv(narrow, 8, 4, pads=[1, 1, 1, 1])


def classifier(net: Net) -> str:
    row = net.node("Flatten", net.node("GlobalAveragePool", net.node("Relu", net.conv("x", 3, 8))))
    return net.node("Gemm", row, net.constant(net.rng.normal(0, 1, (5, 8))), transB=1)


def test_coloured_prefix_is_a_factor_and_an_offset_a_channel(quantize: Any, pictures: np.ndarray) -> None:
    net = Net()
    quantized = quantize(net.model(two_convolutions(net), COLOURED))
    lite = Lite(convert(quantized))
    assert lite.operators["DEPTHWISE_CONV_2D"] == 1 and lite.floats() == []
    assert lite.input["dtype"] == np.uint8 and lite.input["shape"].tolist() == [1, 17, 17, 3]


def test_grey_prefix_is_a_reading_of_the_pixels(quantize: Any, pictures: np.ndarray) -> None:
    """No operator but the change of sign, and nearer to the float model than with a rounded zero point."""
    net = Net()
    model = net.model(two_convolutions(net), GREY)
    quantized = quantize(model)
    lite = Lite(convert(quantized))
    assert lite.operators == {"QUANTIZE": 1, "CONV_2D": 2, "DEQUANTIZE": 1}
    assert lite.input["quantization"] == (pytest.approx(1 / 127.5), 128)
    exact = reference(model, pictures)
    ours, theirs = lite.run(pictures), reference(quantized, pictures)
    assert np.abs(ours - exact).mean() < np.abs(theirs - exact).mean()


def test_prefix_that_onnxruntime_reads_as_integers(quantize: Any, pictures: np.ndarray) -> None:
    from edgetl.backends.onnxruntime.integer_input import use_integer_input

    net = Net()
    quantized = quantize(net.model(two_convolutions(net), GREY))
    assert use_integer_input(quantized)
    steps = np.abs(Lite(convert(quantized)).run(pictures) - reference(quantized, pictures))
    assert steps.max() <= 1.01 * last_scale(quantized)


@pytest.mark.parametrize("contract", [COLOURED, GREY], ids=["coloured", "grey"])
def test_integers_on_both_ends(contract: Any, quantize: Any, pictures: np.ndarray) -> None:
    net = Net()
    quantized = quantize(net.model(classifier(net), contract))
    lite = Lite(convert(quantized, ends="integers"))
    assert lite.input["dtype"] == lite.output["dtype"] == np.int8
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(lite.operators)
    scale, zero = lite.output["quantization"]
    found = scale * (lite.run((pictures.astype(np.int16) - 128).astype(np.int8)).astype(int) - zero)
    assert np.allclose(found, Lite(convert(quantized)).run(pictures), atol=1e-5)


def test_hard_swish_stays_one_operator_for_processors_of_integers(quantize: Any) -> None:
    net = Net()
    last = net.conv(net.node("HardSwish", net.conv("x", 3, 8)), 8, 4, kernel=1)
    quantized = quantize(net.model(last))
    assert Lite(convert(quantized, ends="integers")).operators["HARD_SWISH"] == 1
    assert "HARD_SWISH" not in Lite(convert(quantized)).operators


def test_hard_sigmoid_costs_nothing_after_a_convolution(quantize: Any) -> None:
    net = Net()
    gate = net.node("HardSigmoid", net.conv("x", 3, 8), alpha=1 / 6, beta=0.5)
    quantized = quantize(net.model(net.conv(gate, 8, 4, kernel=1)))
    operators = Lite(convert(quantized)).operators
    assert operators["CONV_2D"] == 2 and operators["DEPTHWISE_CONV_2D"] == 1  # that is the prefix


def test_what_is_concatenated_has_the_results_scale(quantize: Any) -> None:
    net = Net()
    branches = [net.node("Relu", net.conv("x", 3, 4)) for _ in range(3)]
    quantized = quantize(net.model(net.conv(net.node("Concat", *branches, axis=1), 12, 4)))
    assert Lite(convert(quantized)).operators["QUANTIZE"] == 1  # of the pixels


def test_what_is_concatenated_and_used_besides_is_requantized(quantize: Any, pictures: np.ndarray) -> None:
    net = Net()
    shared = net.node("Relu", net.conv("x", 3, 4, pads=[1, 1, 1, 1]))
    wide = net.conv(shared, 4, 4, pads=[1, 1, 1, 1])
    model = net.model(net.conv(net.node("Concat", shared, wide, axis=1), 8, 4))
    quantized = quantize(model)
    lite = Lite(convert(quantized))
    assert lite.operators["QUANTIZE"] == 2
    assert np.abs(lite.run(pictures) - reference(quantized, pictures)).max() <= 3.01 * last_scale(quantized)


def test_nodes_kept_in_float_are_float_and_no_others(quantize: Any, pictures: np.ndarray) -> None:
    net = Net()
    model = net.model(two_convolutions(net))
    kept = next(node.name for node in model.graph.node[::-1] if node.op_type == "Conv")
    quantized = quantize(model, keep=[kept])
    lite = Lite(convert(quantized))
    assert lite.floats() == ["CONV_2D"]
    assert np.allclose(lite.run(pictures), reference(quantized, pictures), atol=0.05)
    assert any("integers only" in line for line in refused(quantized, ends="integers"))


def test_weights_with_zero_points_become_symmetric() -> None:
    stored = np.array([[0, 255, 128], [0, 130, 200]], np.uint8)
    constant = Constant(stored, np.array([0.5, 0.25]), np.array([128, 128]), 0)
    integers, scale = constant.symmetric(0)
    assert integers.dtype == np.int8 and integers.min() >= -127
    assert np.allclose(integers * scale[:, None], constant.value, atol=scale.max() / 2)
    lowest = Constant(np.array([[-128, 5]], np.int8), np.array([1.0]))
    assert lowest.symmetric(0)[0].min() == -127
    whole = Constant(np.array([[-127, 5], [3, 4]], np.int8), np.array([0.5]))
    assert whole.symmetric(0)[0] is whole.stored and whole.symmetric(0)[1].tolist() == [0.5, 0.5]
    elsewhere = Constant(np.array([[100, 50], [3, 4]], np.int8), np.array([0.1, 2.0]), None, 1)
    integers, scale = elsewhere.symmetric(0)
    assert np.allclose(integers * scale[:, None], elsewhere.value, atol=scale.max() / 2)


def test_weights_that_are_nothing_beside_their_bias(quantize: Any, pictures: np.ndarray) -> None:
    """A dead channel, whose bias in units of its weights' scale would not fit into 32 bits."""
    net = Net()
    weights = net.rng.normal(0, 1, (4, 3, 3, 3)) * np.array([1, 1e-9, 1e-3, 1]).reshape(4, 1, 1, 1)
    model = net.model(net.node("Conv", "x", net.constant(weights), net.constant([0.1, 3, -2, 0])))
    quantized = quantize(model)
    for node in quantized.graph.node:  # onnxruntime makes room itself; TensorRT's dialect has a float bias
        if node.op_type == "Conv":
            node.input[1], node.input[2] = "exact_weights", "exact_bias"
    integers = np.clip(np.rint(weights / np.abs(weights).max((1, 2, 3), keepdims=True) * 127), -127, 127)
    scales = np.abs(weights).max((1, 2, 3)) / 127
    quantized.graph.initializer.extend(
        [
            numpy_helper.from_array(integers.astype(np.int8), "integers"),
            numpy_helper.from_array(scales.astype(np.float32), "scales"),
            numpy_helper.from_array(np.float32([0.1, 3, -2, 0]), "exact_bias"),
        ]
    )
    nodes = list(quantized.graph.node)
    del quantized.graph.node[:]
    made = helper.make_node("DequantizeLinear", ["integers", "scales"], ["exact_weights"], axis=0)
    quantized.graph.node.extend([made, *nodes])
    steps = np.abs(Lite(convert(quantized)).run(pictures) - reference(quantized, pictures))
    assert steps.max() <= 1.01 * last_scale(quantized)


def test_per_tensor_weights(quantize: Any, pictures: np.ndarray) -> None:
    """One scale for all channels, as other quantizers write it."""
    net = Net()
    quantized = quantize(net.model(two_convolutions(net)))
    scales = {
        node.input[1]
        for node in quantized.graph.node
        if node.op_type == "DequantizeLinear" and "constant" in node.input[0]
    }
    for tensor in quantized.graph.initializer:
        if tensor.name in scales and numpy_helper.to_array(tensor).ndim == 1:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(values, values.mean()), tensor.name))
    steps = np.abs(Lite(convert(quantized)).run(pictures) - reference(quantized, pictures))
    assert steps.max() <= 2.01 * last_scale(quantized)


def test_batch(quantize: Any, pictures: np.ndarray) -> None:
    net = Net()
    quantized = quantize(net.model(classifier(net)))
    four = Lite(convert(quantized, batch=4))
    four.interpreter.set_tensor(four.input["index"], pictures[:4])
    four.interpreter.invoke()
    found = four.interpreter.get_tensor(four.output["index"])
    assert np.allclose(found, Lite(convert(quantized)).run(pictures[:4]), atol=1e-6)


def test_equal_models_give_equal_bytes(quantize: Any) -> None:
    net = Net()
    quantized = quantize(net.model(classifier(net)))
    assert convert(quantized) == convert(onnx.load_from_string(quantized.SerializeToString()))


def test_file_as_the_schema_wants_it(quantize: Any, tmp_path: Path) -> None:
    """The identifier, 16-byte boundaries, operators of the versions that take integers, names of the ends."""
    net = Net()
    data = convert(quantize(net.model(classifier(net))))
    assert data[4:8] == IDENTIFIER
    model = schema.Model.GetRootAsModel(data, 0)
    assert model.Version() == 3 and model.SubgraphsLength() == 1
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0
    codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
    versions = {code.BuiltinCode(): code.Version() for code in codes}
    assert versions[schema.BuiltinOperator.CONV_2D] == 3
    assert versions[schema.BuiltinOperator.FULLY_CONNECTED] == 4
    lite = Lite(data)
    assert lite.input["name"] == "images" and lite.output["name"].startswith("gemm")


def test_weights_and_biases_have_the_scales_of_the_specification(quantize: Any) -> None:
    net = Net()
    lite = Lite(convert(quantize(net.model(two_convolutions(net)))))
    tensors = {tensor["index"]: tensor for tensor in lite.interpreter.get_tensor_details()}
    seen = 0
    for operator in lite.interpreter._get_ops_details():
        if operator["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            source, weights, bias = (
                tensors[int(index)]["quantization_parameters"] for index in operator["inputs"]
            )
            assert weights["quantized_dimension"] == (3 if operator["op_name"].startswith("DEPTH") else 0)
            assert not weights["zero_points"].any() and not bias["zero_points"].any()
            assert np.allclose(bias["scales"], source["scales"] * weights["scales"], rtol=1e-6)
            assert lite.interpreter.get_tensor(int(operator["inputs"][1])).min() >= -127
            seen += 1
    assert seen == 3


def test_a_mean_has_the_scale_that_the_file_gives_its_row(quantize: Any) -> None:
    """The range of the features, not the wider one of the image they are the mean of."""
    net = Net()
    mean = net.node("ReduceMean", net.node("Relu", net.conv("x", 3, 8)), axes=[2, 3], keepdims=1)
    weights = net.constant(net.rng.normal(0, 1, (5, 8)))
    quantized = quantize(net.model(net.node("Gemm", net.node("Flatten", mean), weights, transB=1)))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    row = next(node for node in quantized.graph.node if node.input[0].startswith("flatten"))
    lite = Lite(convert(quantized))
    tensors = {tensor["index"]: tensor for tensor in lite.interpreter.get_tensor_details()}
    made = next(entry for entry in lite.interpreter._get_ops_details() if entry["op_name"] == "MEAN")
    assert tensors[int(made["outputs"][0])]["quantization"][0] == constants[row.input[1]]


def test_all_refusals_are_listed_at_once() -> None:
    net = Net()
    first = net.node("Erf", net.conv("x", 3, 8))

    mean = net.node("ReduceMean", net.conv("x", 3, 8), axes=[1], keepdims=1)
    row = net.node("Flatten", net.node("Mul", first, mean))
    model = net.model(net.node("Softmax", row, axis=0))
    lines = refused(model)
    assert [line.split(":")[0] for line in lines] == ["erf1 (Erf)", "reducemean3 (ReduceMean)"]
    assert "no such operator" in lines[0] and "height and width" in lines[1]
    with pytest.raises(
        BackendError, match=r"(?s)^LiteRT can't take the model: erf1.*; reducemean3"
    ) as caught:
        convert(model)
    assert "\n" not in str(caught.value)


def edit(model: onnx.ModelProto, operator: str, **attributes: Any) -> onnx.ModelProto:
    node = next(node for node in model.graph.node if node.op_type == operator)
    kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in attributes.items())])
    return model


@pytest.mark.parametrize(
    ("operator", "attributes", "why"),
    [
        ("Gemm", {"alpha": 2.0}, "alpha"),
        ("Flatten", {"axis": 2}, "reshapes|contradicts"),
    ],
)
def test_what_an_operator_can_ask_too_much_of(operator: str, attributes: Any, why: str) -> None:
    net = Net()
    lines = refused(edit(net.model(classifier(net)), operator, **attributes))
    assert len(lines) == 1 and re.search(why, lines[0])


def test_an_average_that_same_does_not_pad(quantize: Any) -> None:
    net = Net()
    pool = net.node(
        "AveragePool", net.conv("x", 3, 8), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0]
    )
    model = net.model(pool)
    assert ["without its padding" in line for line in refused(model)] == [True]
    assert refused(edit(model, "AveragePool", count_include_pad=1)) == []


def test_a_malformed_node_is_named_beside_what_else_is_refused() -> None:
    net = Net()
    pool = net.node("MaxPool", net.node("NoSuchOperator", net.conv("x", 3, 8)))  # without its kernel_shape
    lines = refused(net.model(pool))
    assert len(lines) == 2 and all("\n" not in line for line in lines)
    assert "NoSuchOperator" in lines[0] and "kernel_shape" in lines[1]


def test_a_model_without_the_prefix_and_garbage_are_refused(tmp_path: Path, tiny: Any) -> None:
    assert "uint8 [N, H, W, 3]" in refused(tiny.foreign)[0]
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"garbage" * 100)
    lines = refused(garbage)
    assert len(lines) == 1 and "\n" not in lines[0] and lines[0].startswith("no ONNX file")


def test_supports_is_about_operators_and_not_about_the_form(tmp_path: Path, tiny: Any) -> None:
    backend, exotic = LiteRtBackend(), tmp_path / "exotic.onnx"
    assert [backend.supports(model, TARGET) for model in (tiny.foreign, tiny.model)] == [[], []]
    model = onnx.load(tiny.foreign)
    last = model.graph.output[0]
    model.graph.node.append(helper.make_node("Sin", [last.name], ["waves"], name="sine"))
    last.name = "waves"
    onnx.save(model, exotic)
    assert backend.supports(exotic, TARGET) == ["sine (Sin): there is no such operator in the converter"]
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, exotic)
    with pytest.raises(InputError, match="expected FLOAT"):
        backend.supports(exotic, TARGET)


def test_supports_asks_for_the_precision_of_the_target(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float first, whose refusals name the model's own nodes; then as it is built."""
    asked: list[bool] = []

    def recording(form: Path, batch: int) -> list[str]:
        asked.append(is_quantized(onnx.load(form)))
        return refused(form, batch=batch)

    monkeypatch.setattr("edgetl.backends.litert.support.refused", recording)
    for target in (TARGET, TARGET.model_copy(update={"precision": "f32"})):
        assert LiteRtBackend().supports(tiny.foreign, target) == []
    assert asked == [False, True, False]


def test_sixteen_bits_are_refused(quantize: Any) -> None:
    net = Net()
    quantized = quantize(net.model(two_convolutions(net)))
    zeros = {node.input[2] for node in quantized.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in quantized.graph.initializer:
        if tensor.name in zeros:
            wide = numpy_helper.to_array(tensor).astype(np.uint16)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    assert any("uint16" in line for line in refused(quantized))
