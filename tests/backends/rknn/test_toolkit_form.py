"""The prefix taken out, the opset lowered: the same numbers, checked in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgetl import profiles
from edgetl.backends.base import Calibration
from edgetl.backends.rknn import RknnBackend
from edgetl.backends.rknn.toolkit_form import OPSET, ToolkitForm, toolkit_form
from edgetl.conformance.network import Network
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import INPUT
from edgetl.profiles import Recipe

EVEN = Contract(32, 32, "shorter", 36, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def logits_of(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def as_the_toolkit_runs(form: ToolkitForm, image: np.ndarray) -> np.ndarray:
    """The toolkit's own normalisation in front of the model."""
    pixels = (image.astype(np.float64) - form.mean) / form.std
    name = form.model.graph.input[0].name
    return logits_of(form.model, {name: pixels.transpose(0, 3, 1, 2).astype(np.float32)})


def with_contract(network: Network, contract: Contract, out: Path) -> Path:
    from edgetl.contract.onnx_prefix import graft_prefix

    onnx.save(graft_prefix(onnx.load(network.foreign), contract), out)
    return out


def test_float_model(tiny: Network, batch: np.ndarray) -> None:
    model = onnx.load(tiny.model)
    form = toolkit_form(model)
    assert form.input == [1, 32, 32, 3]
    assert form.mean == pytest.approx([123.675, 116.28, 103.53])
    assert form.std == pytest.approx([58.395, 57.12, 57.375])
    assert not any(node.name.startswith("edgetl/cast") for node in form.model.graph.node)
    expected = logits_of(model, {INPUT: batch[:1]})
    np.testing.assert_allclose(as_the_toolkit_runs(form, batch[:1]), expected, rtol=1e-3, atol=1e-3)


def test_integer_pixels_stay_exact(
    tiny: Network, batch: np.ndarray, calibration: Calibration, recipe: Recipe, tmp_path: Path
) -> None:
    model = with_contract(tiny, EVEN, tmp_path / "float.onnx")
    out = tmp_path / "quantized.onnx"
    RknnBackend().quantize(model, calibration, recipe, profiles.target("rk3588"), [], out)
    quantized = onnx.load(out)
    form = toolkit_form(quantized)
    assert form.mean == [128.0] * 3 and form.std == pytest.approx([127.5] * 3)
    quantize, dequantize = form.model.graph.node[:2]
    assert (quantize.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear")
    expected = logits_of(quantized, {INPUT: batch[:1]})
    np.testing.assert_allclose(as_the_toolkit_runs(form, batch[:1]), expected, rtol=1e-5, atol=1e-5)


def test_every_dequantization_has_a_zero_point(tiny: Network) -> None:
    model = onnx.load(tiny.model)
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4, np.int8), "integers"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4, np.float32), "steps"))
    graph.node.append(helper.make_node("DequantizeLinear", ["integers", "steps"], ["floats"], axis=0))
    form = toolkit_form(model)
    node = form.model.graph.node[-1]
    zeros = next(tensor for tensor in form.model.graph.initializer if tensor.name == node.input[2])
    assert zeros.data_type == TensorProto.INT8 and list(zeros.dims) == [4]


def test_foreign_model_keeps_its_input(tiny: Network) -> None:
    form = toolkit_form(onnx.load(tiny.foreign))
    assert (form.mean, form.std, form.input) == (None, None, None)
    assert form.model.graph.input[0].name == onnx.load(tiny.foreign).graph.input[0].name


def test_other_prefix_is_refused(tiny: Network) -> None:
    model = onnx.load(tiny.model)
    cast = next(node for node in model.graph.node if node.op_type == "Cast")
    model.graph.node.append(helper.make_node("Identity", [INPUT], ["again"], name="second_reader"))
    assert cast.input[0] == INPUT
    with pytest.raises(ValueError, match="not followed by edgetl's prefix"):
        toolkit_form(model)


@pytest.mark.parametrize(("operator", "opset", "fits"), [("Relu", 21, True), ("Gelu", 20, False)])
def test_opset_is_lowered_where_that_changes_nothing(operator: str, opset: int, fits: bool) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "one",
        [value("x", TensorProto.FLOAT, [1, 3])],
        [value("y", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    if fits:
        form = toolkit_form(model)
        assert form.model.opset_import[0].version == OPSET
        onnx.checker.check_model(form.model, full_check=True)
    else:
        with pytest.raises(ValueError, match=r"opset 20 can't be lowered to 19.*Gelu is newer"):
            toolkit_form(model)


def test_all_operators_are_quantized_but_those_kept(
    tiny: Network, calibration: Calibration, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "quantized.onnx"
    kept = next(node.name for node in onnx.load(tiny.model).graph.node if node.op_type == "Conv")
    RknnBackend().quantize(tiny.model, calibration, recipe, profiles.target("rk3588"), [kept], out)
    graph = onnx.load(out).graph
    made = {tensor: node.op_type for node in graph.node for tensor in node.output}
    computing = [
        node
        for node in graph.node
        if node.op_type in ("Conv", "Gemm", "Add", "GlobalAveragePool") and "edgetl/mean" not in node.name
    ]
    floats = [node.name for node in computing if made.get(node.input[0]) != "DequantizeLinear"]
    assert floats == [kept]
