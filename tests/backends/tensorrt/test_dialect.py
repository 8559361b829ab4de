"""Each thing TensorRT does not take is found, and TensorRT's own parser is asked whether it is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends.tensorrt.dialect import check, require
from edgetl.errors import BackendError
from edgetl.profiles import target

JETPACK_6 = int(target("jetson-orin-nano").build["opset_limit"])
Change = Callable[[onnx.ModelProto], None]
ACTIVATION, WEIGHT, OUTPUT = "r0_QuantizeLinear", "w1_DequantizeLinear", "r0_QuantizeLinear_Output"


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(item for item in model.graph.node if item.name == name)


def put(model: onnx.ModelProto, of: str, index: int, values: Any) -> None:
    """Replace a constant input of a node."""
    name = node(model, of).input[index]
    tensor = next(item for item in model.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.broadcast_to(values, tensor.dims).copy(), name))


def integer_bias(model: onnx.ModelProto) -> None:
    """As onnxruntime writes it by default."""
    parts = {"bq": np.ones(16, np.int32), "bs": np.full(16, 0.1, np.float32), "bz": np.zeros(16, np.int32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in parts.items())
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", list(parts), ["bf"], name="bias", axis=0))
    node(model, "conv1").input[2] = "bf"


def no_zero_point(model: onnx.ModelProto) -> None:
    del node(model, ACTIVATION).input[2]


def not_dequantized(model: onnx.ModelProto) -> None:
    node(model, "conv1").input[0] = OUTPUT


def uncast_pixels(model: onnx.ModelProto) -> None:
    cast, layout = node(model, "edgetl/cast"), node(model, "edgetl/layout")
    layout.input[0], cast.input[0] = "images", "bytes"
    layout.output[0], cast.output[0] = "bytes", "edgetl_nchw"
    nodes = [layout, cast, *(item for item in model.graph.node if item.name not in (cast.name, layout.name))]
    copies = [onnx.NodeProto.FromString(item.SerializeToString()) for item in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def unsigned_weights(model: onnx.ModelProto) -> None:
    put(model, WEIGHT, 0, np.uint8(5))
    put(model, WEIGHT, 2, np.uint8(0))


@dataclass(frozen=True)
class Defect:
    change: Change
    node: str
    problem: str
    parsed: bool = False


DEFECTS = {
    "INT32 bias": Defect(integer_bias, "bias", "INT32 bias"),
    "zero point": Defect(
        lambda model: put(model, ACTIVATION, 2, np.int8(3)), ACTIVATION, "zero point other than 0"
    ),
    "unsigned with zero point": Defect(
        lambda model: put(model, ACTIVATION, 2, np.uint8(128)), ACTIVATION, "UINT8"
    ),
    # TensorRT takes these two for signed ones
    "unsigned": Defect(
        lambda model: put(model, ACTIVATION, 2, np.uint8(0)), ACTIVATION, "UINT8", parsed=True
    ),
    "no type": Defect(no_zero_point, ACTIVATION, "unsigned 8-bit", parsed=True),
    "unsigned weights": Defect(unsigned_weights, WEIGHT, "UINT8"),
    "double scale": Defect(
        lambda model: put(model, ACTIVATION, 1, np.float64(0.1)), ACTIVATION, "DOUBLE", parsed=True
    ),
    "scale of zero": Defect(
        lambda model: put(model, WEIGHT, 1, np.float32(0)), WEIGHT, "scale that is not positive"
    ),
    "Q without DQ": Defect(not_dequantized, ACTIVATION, "goes to Conv"),
    "pixels without Cast": Defect(uncast_pixels, "edgetl/layout", "uint8 input"),
}


def parses(model: onnx.ModelProto) -> bool:
    from edgetl.backends.tensorrt.binding import load_binding

    binding = load_binding("tensorrt-rtx")
    builder = binding.trt.Builder(binding.logger)
    network = builder.create_network(binding.strongly_typed_flag)
    with binding.recorder.listen():
        return bool(binding.trt.OnnxParser(network, binding.logger).parse(model.SerializeToString()))


@pytest.fixture
def model(qdq: Path) -> onnx.ModelProto:
    return onnx.load(qdq)


@pytest.mark.parametrize("name", DEFECTS)
def test_defect(rtx: Any, model: onnx.ModelProto, name: str) -> None:
    defect = DEFECTS[name]
    assert check(model) == [] and parses(model)
    defect.change(model)
    found = check(model)[0]
    assert found.node == defect.node and defect.problem in found.problem
    assert "edgetl quantize FLOAT.onnx" in found.remedy and "--target" in found.remedy
    assert parses(model) is defect.parsed
    with pytest.raises(BackendError, match=r"TensorRT can't take m\.onnx: ") as caught:
        require(model, Path("/somewhere/m.onnx"))
    message = str(caught.value)
    assert "\n" not in message and defect.node in message and defect.problem in message
    assert found.remedy in message


def test_the_others_are_counted(model: onnx.ModelProto) -> None:
    for index in range(3):
        put(model, f"w{index}_DequantizeLinear", 1, np.float32(0))
    with pytest.raises(BackendError, match=r"not positive \(and 2 more\);"):
        require(model, Path("m.onnx"))
    assert [found.node for found in check(model)] == [f"w{index}_DequantizeLinear" for index in range(3)]


def test_onnxruntimes_own_dialect(kits: Any) -> None:
    problems = {found.problem for found in check(onnx.load(kits("onnxruntime").int8_model))}
    assert any("INT32 bias" in problem for problem in problems)
    assert any("UINT8" in problem for problem in problems)


def test_a_float_model_is_no_matter_of_quantization(chain: Any) -> None:
    model = onnx.load(chain.model)
    require(model, chain.model)
    uncast_pixels(model)
    [found] = check(model)
    assert "Cast must read first" in found.problem and "float input" in found.remedy


def test_nodes_without_names(model: onnx.ModelProto) -> None:
    put(model, ACTIVATION, 2, np.int8(3))
    node(model, ACTIVATION).name = ""
    assert check(model)[0].node == f"QuantizeLinear of {OUTPUT}"


def test_zero_points_in_constant_nodes(model: onnx.ModelProto) -> None:
    value = helper.make_tensor("value", TensorProto.INT8, [], [3])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["three"], name="three", value=value))
    node(model, ACTIVATION).input[2] = "three"
    assert [found.problem for found in check(model)] == ["has a zero point other than 0"]


def test_a_computed_scale_is_tensorrts_to_judge(rtx: Any, model: onnx.ModelProto) -> None:
    scale = node(model, ACTIVATION).input[1]
    model.graph.node.insert(0, helper.make_node("Identity", [scale], ["computed"], name="identity"))
    node(model, ACTIVATION).input[1] = "computed"
    assert check(model) == [] and parses(model)


def test_opset(model: onnx.ModelProto) -> None:
    assert check(model, opset_limit=JETPACK_6) == []
    model.opset_import[0].version = JETPACK_6 + 1
    assert check(model) == []
    [found] = check(model, opset_limit=JETPACK_6)
    assert "opset 21" in found.problem and "opset 20" in found.remedy
