"""The layer report: both spellings of both generations, and engines really built."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends.tensorrt.layers import (
    Layer,
    LayerReport,
    Tensor,
    computes_in,
    constant_bytes,
    parse_inspector,
    parse_log,
)
from edgetl.errors import BackendError

Json = dict[str, Any]
US, RS = "\x1f", "\x1e"
NOTHING = " "

STEM, HEAD = "/stem/Conv", "/head.0/Gemm"
NODES = {STEM: "Conv", HEAD: "Gemm"}

LOG_10 = f"""Layers:
Name: Reformatting CopyNode for Input Tensor 0 to stem.weight + /stem/Conv + /stem/Relu, \
LayerType: Reformat, Inputs: [ {{ Name: pixels, Location: Device, Dimensions: [1,3,64,64], \
Format/Datatype: Row major linear FP32 }}], \
Outputs: [ {{ Name: moved, Location: Device, Dimensions: [1,3,64,64], \
Format/Datatype: Row major Int8 format }}], \
ParameterType: Reformat, Origin: QDQ, TacticValue: 0x0, StreamId: 0, Metadata:{NOTHING}
Name: stem.weight + /stem/Conv + /stem/Relu, LayerType: CaskConvolution, \
Inputs: [ {{ Name: moved, Location: Device, Dimensions: [1,3,64,64], \
Format/Datatype: Row major Int8 format }}, \
{{ Name: shortcut, Location: Device, Dimensions: [1,32,32,32], Format/Datatype: Half }}], \
Outputs: [ {{ Name: stem_out, Location: Device, Dimensions: [1,32,32,32], Format/Datatype: Half }}], \
ParameterType: Convolution, Kernel: [3,3], Weights: {{"Type": "Int8", "Count": 864}}, \
Bias: {{"Type": "Float", "Count": 32}}, HasBias: 1, TacticName: sm87_xmma_fprop_i8, TacticValue: 0x1f, \
StreamId: 0, Metadata: [ONNX Layer: /stem/Conv]{US}[ONNX Layer: /stem/Relu]{RS}[ONNX Layer: stem_q]
Name: /head_0/Gemm_myl1_2, LayerType: gemm, \
Inputs: [ {{ Name: __mye59_dconst, Dimensions: [32,10], Format/Datatype: Half }}, \
{{ Name: stem_out, Dimensions: [1,32], Format/Datatype: Half }}, \
{{ Name: __mye57_alpha, Dimensions: [1], Format/Datatype: Float }}], \
Outputs: [ {{ Name: logits, Dimensions: [1,10], Format/Datatype: Half }}], \
TacticName: sm80_xmma_gemm_f16, StreamId: 1, Metadata: [ONNX Layer: /head.0/Gemm]

Bindings:
pixels
shortcut
logits
"""

JSON_10: Json = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to stem.weight + /stem/Conv + /stem/Relu",
            "LayerType": "Reformat",
            "Inputs": [
                {
                    "Name": "pixels",
                    "Location": "Device",
                    "Dimensions": [1, 3, 64, 64],
                    "Format/Datatype": "Row major linear FP32",
                }
            ],
            "Outputs": [
                {
                    "Name": "moved",
                    "Location": "Device",
                    "Dimensions": [1, 3, 64, 64],
                    "Format/Datatype": "Row major Int8 format",
                }
            ],
            "ParameterType": "Reformat",
            "Origin": "QDQ",
            "TacticValue": "0x0",
            "StreamId": 0,
            "Metadata": "",
        },
        {
            "Name": "stem.weight + /stem/Conv + /stem/Relu",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {
                    "Name": "moved",
                    "Location": "Device",
                    "Dimensions": [1, 3, 64, 64],
                    "Format/Datatype": "Row major Int8 format",
                },
                {
                    "Name": "shortcut",
                    "Location": "Device",
                    "Dimensions": [1, 32, 32, 32],
                    "Format/Datatype": "Half",
                },
            ],
            "Outputs": [
                {
                    "Name": "stem_out",
                    "Location": "Device",
                    "Dimensions": [1, 32, 32, 32],
                    "Format/Datatype": "Half",
                }
            ],
            "ParameterType": "Convolution",
            "Kernel": [3, 3],
            "Weights": {"Type": "Int8", "Count": 864},
            "Bias": {"Type": "Float", "Count": 32},
            "HasBias": 1,
            "TacticName": "sm87_xmma_fprop_i8",
            "TacticValue": "0x1f",
            "StreamId": 0,
            "Metadata": f"[ONNX Layer: /stem/Conv]{US}[ONNX Layer: /stem/Relu]{RS}[ONNX Layer: stem_q]",
        },
        {
            "Name": "/head_0/Gemm_myl1_2",
            "LayerType": "gemm",
            "Inputs": [
                {"Name": "__mye59_dconst", "Dimensions": [32, 10], "Format/Datatype": "Half"},
                {"Name": "stem_out", "Dimensions": [1, 32], "Format/Datatype": "Half"},
                {"Name": "__mye57_alpha", "Dimensions": [1], "Format/Datatype": "Float"},
            ],
            "Outputs": [{"Name": "logits", "Dimensions": [1, 10], "Format/Datatype": "Half"}],
            "TacticName": "sm80_xmma_gemm_f16",
            "StreamId": 1,
            "Metadata": "[ONNX Layer: /head.0/Gemm]",
        },
    ],
    "Bindings": ["pixels", "shortcut", "logits"],
}

LOG_11 = f"""Layers:
Name: __myl_Conc_myl0_0, LayerType: runtime_function, Inputs: [ {{ Name: pixels, Dimensions: [1,3,64,64], \
Strides: [12288,1,192,3], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }}], \
Constants: [ {{ Name: __mye1, Dimensions: [1,1,64,64], Strides: [4096,1,64,1], StrideOrder: [3,0,2,1], \
Datatype: Int8, Format: (NHWC) Channel major format }}], Outputs: [ {{ Name: four, Dimensions: [1,4,64,64], \
Strides: [16384,1,256,4], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }}], \
TacticName: __myl_Conc_0xd5, StreamId: 0, Metadata: [ONNX Layer: /stem/Conv][ONNX Layer: stem_dq]
Name: /stem/Conv_myl0_1, LayerType: correlation, Inputs: [ {{ Name: four, Dimensions: [1,4,64,64], \
Strides: [16384,1,256,4], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }}], \
Constants: [ {{ Name: __mye2_dconst, Dimensions: [32,4,3,3], Strides: [36,1,12,4], StrideOrder: [3,0,2,1], \
Datatype: Int8, Format: (NHWC) Channel major format }}, {{ Name: __mye3dconst, Dimensions: [1,32,1,1], \
Strides: [32,1,32,32], StrideOrder: [3,0,2,1], Datatype: Float, Format: (NHWC) Channel major format }}], \
Outputs: [ {{ Name: sums, Dimensions: [1,32,32,32], Strides: [32768,1,1024,32], StrideOrder: [3,0,2,1], \
Datatype: Float, Format: (NHWC) Channel major format }}], TacticName: __myelin_CASK_STUB, StreamId: 0, \
Metadata: [ONNX Layer: /stem/Conv][ONNX Layer: stem_dq]
Name: __mye9_myl0_2, LayerType: signal, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, \
EventId: 1, Metadata:{NOTHING}
Name: __myl_ReshMulSumAdd_myl0_3, LayerType: kgen, Inputs: [ {{ Name: sums, Dimensions: [1,32], \
Strides: [32,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major linear format }}], \
Constants: [ {{ Name: bias, Dimensions: [1,10], Strides: [10,1], StrideOrder: [1,0], Datatype: Float, \
Format: (Linear) Row major linear format }}, {{ Name: matrix, Dimensions: [32,10], Strides: [1,32], \
StrideOrder: [0,1], Datatype: Float, Format: (Transposed) Transposed format }}], Outputs: [ {{ Name: logits, \
Dimensions: [1,10], Strides: [10,1], StrideOrder: [1,0], Datatype: Float, \
Format: (Linear) Row major linear format }}], TacticName: __myl_ReshMulSumAdd_0xa3, StreamId: 0, \
Metadata: [ONNX Layer: /head.0/Gemm]

I/O Tensors:
 Name: pixels, IOMode: Input, DataType: Int8, Dimensions: [1,3,64,64], Location: Device
 Name: logits, IOMode: Output, DataType: Float, Dimensions: [1,10], Location: Device

Engine Metadata:
 Multi-Device: Disabled
"""


def report(*layers: Layer) -> LayerReport:
    return LayerReport(layers)


def convolution(node: str, data: str, weights: str, **changes: Any) -> Layer:
    layer = Layer(
        name=f"{node}_myl0_1",
        kind="correlation",
        inputs=(Tensor("x", data, (1, 8, 4, 4)),),
        constants=(Tensor("w", weights, (8, 8, 3, 3)), Tensor("scale", "f32", (1, 8, 1, 1))),
        outputs=(Tensor("y", "f32", (1, 8, 4, 4)),),
        onnx_nodes=(node,),
    )
    return replace(layer, **changes)


def entry(layer: Layer) -> Json:
    """A layer as 11.x's inspector writes it."""
    words = {"int8": "Int8", "f32": "Float", "f16": "Half"}

    def tensors(group: tuple[Tensor, ...]) -> list[Json]:
        return [
            {
                "Name": t.name,
                "Dimensions": list(t.shape),
                "Datatype": words[t.dtype],
                "Format": f"({t.layout}) as it lies",
            }
            for t in group
        ]

    return {
        "Name": layer.name,
        "LayerType": layer.kind,
        "Inputs": tensors(layer.inputs),
        "Constants": tensors(layer.constants),
        "Outputs": tensors(layer.outputs),
        "TacticName": layer.tactic,
        "StreamId": layer.stream,
        "Metadata": RS.join(f"[ONNX Layer: {node}]" for node in layer.onnx_nodes),
    }


def test_log_of_10() -> None:
    move, stem, head = parse_log(LOG_10)
    assert move.kind == "Reformat" and move.onnx_nodes == ()
    assert move.outputs[0] == Tensor("moved", "int8", (1, 3, 64, 64), "Row major Int8 format")
    assert stem.onnx_nodes == (STEM, "/stem/Relu", "stem_q")
    assert [(t.name, t.dtype, t.elements) for t in stem.constants] == [
        ("Weights", "int8", 864),
        ("Bias", "f32", 32),
    ]
    assert stem.tactic == "sm87_xmma_fprop_i8"
    assert [t.name for t in head.inputs] == ["stem_out"]
    assert [t.name for t in head.constants] == ["__mye59_dconst", "__mye57_alpha"]
    assert head.stream == 1 and constant_bytes(head) == 2 * 320 + 4


def test_json_of_10_tells_the_same() -> None:
    assert parse_inspector(json.dumps(JSON_10)) == parse_log(LOG_10)
    assert parse_inspector(json.dumps(JSON_10).replace("\\u001f", US)) == parse_log(LOG_10)


def test_log_of_11_and_its_json_tell_the_same() -> None:
    layers = parse_log(LOG_11)
    assert [layer.kind for layer in layers] == ["runtime_function", "correlation", "signal", "kgen"]
    assert layers[1].constants[0] == Tensor("__mye2_dconst", "int8", (32, 4, 3, 3), "NHWC")
    assert layers[2] == Layer("__mye9_myl0_2", "signal", (), (), ())
    edges = [{"Name": "pixels", "IOMode": "Input"}, {"Name": "logits", "IOMode": "Output"}]
    document = {"Layers": [entry(layer) for layer in layers], "I/O Tensors": edges}
    assert parse_inspector(json.dumps(document)) == layers


def test_precision_of_both() -> None:
    old, new = LayerReport(parse_log(LOG_10)), LayerReport(parse_log(LOG_11))
    assert old.precisions(NODES) == {STEM: "int8", HEAD: "f16"}
    assert new.precisions(NODES) == {STEM: "int8", HEAD: "f32"}
    read = old.precision("int8", "f32", NODES)
    assert (read.used, read.float_part, read.layers) == ("int8", "f16", {"int8": 1, "f16": 1})
    assert [layer.kind for layer in new.arithmetic(NODES)] == ["correlation", "kgen"]
    assert [layer.kind for layer in new.arithmetic()] == ["correlation"]
    assert [layer.kind for layer in old.reformats()] == ["Reformat"]
    assert [layer.kind for layer in new.reformats()] == ["runtime_function"]
    assert old.float_nodes(NODES, NODES) == (HEAD,)
    assert old.float_nodes(NODES, [STEM]) == ()


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Layers": ["conv + relu", "gemm"], "Bindings": ["x"]}),
        json.dumps({"Layers": []}),
    ],
)
def test_names_only_asks_for_detail(text: str) -> None:
    with pytest.raises(BackendError, match="profilingVerbosity=detailed"):
        parse_inspector(text)
    with pytest.raises(BackendError, match="profilingVerbosity=detailed"):
        parse_log("Layers:\nconv + relu\ngemm\n\nBindings:\nx\n")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"Layers": [{"Name": "x"}]}', '{"Layers": [{"Name": 1, "LayerType": "a"}, "b"]}'],
)
def test_other_json_is_one_line(text: str) -> None:
    with pytest.raises(BackendError, match="can't be read") as caught:
        parse_inspector(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "weights", "found"),
    [
        ("int8", "int8", "int8"),
        ("f32", "int8", "f32"),
        ("int8", "f32", "f32"),
        ("f16", "f16", "f16"),
        ("bf16", "bf16", "bf16"),
        ("unknown", "int8", "unknown"),
    ],
)
def test_both_operands_count(data: str, weights: str, found: str) -> None:
    assert computes_in(convolution("c", data, weights)) == found


def test_what_is_only_added_does_not_count() -> None:
    residual = Tensor("shortcut", "f32", (1, 8, 4, 4))
    layer = convolution("c", "int8", "int8")
    assert computes_in(replace(layer, inputs=(*layer.inputs, residual))) == "int8"


def test_a_product_of_two_activations() -> None:
    first, second = Tensor("a", "int8", (3, 16, 8)), Tensor("b", "f16", (3, 8, 16))
    layer = Layer("qk", "gemm", (first, second), (Tensor("alpha", "f32", (1,)),), (first,))
    assert computes_in(layer) == "f16"


def test_dynamic_shapes_are_unknown_and_named() -> None:
    text = json.dumps(JSON_10).replace("Row major Int8", "N/A due to dynamic shapes")
    found = LayerReport(parse_inspector(text))
    assert found.precision("int8", "f32", NODES).layers == {"unknown": 1, "f16": 1}
    assert found.float_nodes(NODES, [STEM]) == ()
    assert f"The precision of 1 of 2 products is not told: {STEM}." in found.findings(NODES, [STEM])


def test_the_layer_named_after_a_node_computes_it() -> None:
    first = convolution("a", "int8", "int8", onnx_nodes=("a", "b"))
    second = convolution("b", "f32", "f32")
    assert report(first, second).precisions(["a", "b"]) == {"a": "int8", "b": "f32"}
    both = convolution("x", "int8", "int8", onnx_nodes=("a",))
    other = convolution("y", "f32", "f32", onnx_nodes=("a",))
    assert report(both, other).precisions(["a"]) == {"a": "f32"}


def test_a_layer_that_only_rescales_is_not_the_product() -> None:
    scale = Layer("__myl_Mul_myl0_2", "kgen", (Tensor("y", "f32", (1, 8)),), (), (), onnx_nodes=("a",))
    assert report(scale).computing("a") == ()
    assert report(scale, convolution("a", "int8", "int8")).precisions(["a"]) == {"a": "int8"}
    assert report(scale).precision("int8", "f16", ["a"]).layers == {"unknown": 1}


def test_reformats_move_and_compute_nothing() -> None:
    def generated(steps: str) -> Layer:
        return Layer(f"__myl_{steps}_myl0_7", "kgen", (), (), ())

    moving = [generated("Tran"), generated("ReshConcResh"), Layer("x copy", "Reformat", (), (), ())]
    computing = [generated("TranMul"), generated("MulReluMulMinMaxRounCast"), convolution("c", "f32", "f32")]
    assert report(*moving, *computing).reformats() == tuple(moving)


def test_findings_say_what_was_lost() -> None:
    layers = [convolution(f"c{i}", "f32", "int8", tactic="sm80_tf32f32_nhwc") for i in range(5)]
    names = [f"c{i}" for i in range(5)]
    first, second = report(*layers).findings(names, names)
    assert first == "5 products are built in float against the model: c0, c1, c2 and 2 more."
    assert second == "5 float layers are computed in TF32, with 10 bits of mantissa."
    assert report(convolution("c", "int8", "int8")).findings(["c"], ["c"]) == []


def test_bytes() -> None:
    assert Tensor("t", "int4", (3, 5)).bytes == 8
    assert Tensor("t", "f32", ()).bytes == 4
    assert Tensor("t", "f32", (-1, 3)).bytes is None
    layer = convolution("c", "int8", "int8")
    assert constant_bytes(layer) == 8 * 8 * 9 + 8 * 4
    assert constant_bytes(replace(layer, constants=(Tensor("t", "unknown", (2,)),))) is None


def test_round_trip() -> None:
    for text in (LOG_10, LOG_11):
        found = LayerReport(parse_log(text))
        assert LayerReport.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("layers"),
        lambda data: data.update(schema="edgetl.layers/9"),
        lambda data: data["layers"][0].pop("kind"),
        lambda data: data["layers"][1]["inputs"][0].pop(),
    ],
)
def test_damaged_report_is_refused(change: Callable[[Json], object]) -> None:
    data = LayerReport(parse_log(LOG_11)).to_dict()
    change(data)
    with pytest.raises(BackendError, match="build the engine again"):
        LayerReport.from_dict(data)


@pytest.fixture(scope="module")
def build(rtx: Any) -> Callable[[Path], tuple[LayerReport, bytes]]:
    """Really build an engine for RTX 30."""
    from edgetl.backends.tensorrt.binding import load_binding
    from edgetl.backends.tensorrt.builder import build_engine
    from edgetl.backends.tensorrt.settings import BuildSettings

    def make(model: Path) -> tuple[LayerReport, bytes]:
        built = build_engine(load_binding(rtx.name), model, BuildSettings(compute_capabilities=("8.6",)))
        assert built.layers is not None
        return built.layers, built.engine

    return make


class Network:
    """A small ONNX graph, each product's operands quantized if ``int8``."""

    def __init__(self, int8: bool, shape: list[int]) -> None:
        from onnx import helper

        self._helper, self._int8, self._shape = helper, int8, shape
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.names: list[str] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self._nodes.append(self._helper.make_node(kind, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def dequantized(self, name: str, tensor: str) -> str:
        if not self._int8:
            return tensor
        scale = self.constant(f"{name}_scale", np.array(0.05, np.float32))
        zero = self.constant(f"{name}_zero", np.array(0, np.int8))
        return self.add(
            "DequantizeLinear",
            f"{name}_dq",
            self.add("QuantizeLinear", f"{name}_q", tensor, scale, zero),
            scale,
            zero,
        )

    def product(self, kind: str, name: str, data: str, weights: str | np.ndarray, **attributes: Any) -> str:
        if isinstance(weights, np.ndarray):
            weights = self.constant(f"{name}_weight", weights)
        self.names.append(name)
        operands = [self.dequantized(f"{name}_{i}", tensor) for i, tensor in enumerate((data, weights))]
        return self.add(kind, name, *operands, **attributes)

    def save(self, output: str, shape: list[int], path: Path) -> Path:
        import onnx
        from onnx import TensorProto

        ends = [
            self._helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
            for name, sizes in (("x", self._shape), (output, shape))
        ]
        graph = self._helper.make_graph(self._nodes, "g", ends[:1], ends[1:], self._constants)
        model = self._helper.make_model(
            graph, opset_imports=[self._helper.make_opsetid("", 19)], ir_version=9
        )
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path


def depthwise(int8: bool, path: Path) -> tuple[Path, list[str]]:
    """A convolution, two depthwise ones, one of ordinary groups, a matrix product."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape).astype(np.float32)

    net = Network(int8, [1, 16, 48, 48])
    y = net.product("Conv", "wide", "x", weights(32, 16, 1, 1))
    y = net.add("Relu", "relu1", y)
    y = net.product("Conv", "deep1", y, weights(32, 1, 3, 3), group=32, pads=[1, 1, 1, 1])
    y = net.add("Relu", "relu2", y)
    y = net.product("Conv", "deep2", y, weights(32, 1, 3, 3), group=32, pads=[1, 1, 1, 1])
    y = net.add("Relu", "relu3", y)
    y = net.product("Conv", "groups", y, weights(32, 8, 3, 3), group=4, pads=[1, 1, 1, 1])
    y = net.add("Flatten", "flat", net.add("GlobalAveragePool", "pool", y))
    y = net.product("MatMul", "head", y, weights(32, 16))
    return net.save(y, [1, 16], path), net.names


def test_every_product_of_a_real_engine_is_found(build: Any, tmp_path: Path) -> None:
    for int8, dtype in ((True, "int8"), (False, "f32")):
        model, names = depthwise(int8, tmp_path / f"{dtype}.onnx")
        found, _ = build(model)
        assert found.precisions(names) == dict.fromkeys(names, dtype)
        assert found.precision(dtype, "f32", names).used == dtype
        assert found.float_nodes(names, names if int8 else ()) == ()


def test_padding_is_in_the_engine(build: Any, tmp_path: Path) -> None:
    """The megabytes that the finding names are there, as zeros; the float engine has none."""
    model, names = depthwise(True, tmp_path / "int8.onnx")
    found, engine = build(model)
    [finding] = found.findings(names, names)
    zeros = 3 * 32 * 48 * 48
    assert finding.startswith(
        f"2 depthwise convolutions are padded from 1 to 4 channels a group: {zeros / 1e6:.1f} MB of zeros"
    )
    assert [len(run) for run in re.findall(rb"\0{100000,}", engine)] == [pytest.approx(zeros, abs=4096)]
    float_model, _ = depthwise(False, tmp_path / "float.onnx")
    found, engine = build(float_model)
    assert found.findings(names) == []
    assert not re.search(rb"\0{100000,}", engine)


def test_kept_in_float_needs_no_padding(build: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = Network(True, [1, 16, 48, 48])
    y = net.product("Conv", "wide", "x", rng.normal(0, 1, (32, 16, 1, 1)).astype(np.float32))
    kernel = net.constant("kernel", rng.normal(0, 1, (32, 1, 3, 3)).astype(np.float32))
    y = net.add("Conv", "deep", net.add("Relu", "relu", y), kernel, group=32, pads=[1, 1, 1, 1])
    y = net.product("Conv", "narrow", y, rng.normal(0, 1, (16, 32, 1, 1)).astype(np.float32))
    found, engine = build(net.save(y, [1, 16, 48, 48], tmp_path / "mixed.onnx"))
    nodes = {"wide": "Conv", "deep": "Conv", "narrow": "Conv"}
    assert found.precisions(nodes) == {"wide": "int8", "deep": "f32", "narrow": "int8"}
    assert found.findings(nodes, ("wide", "narrow")) == []
    assert not re.search(rb"\0{100000,}", engine)
    assert found.summary(nodes)["arithmetic"] == {"int8": 2, "f32": 1}


def attention(path: Path) -> tuple[Path, list[str]]:
    """One attention block of three heads: projections around softmax(q k) v."""
    rng = np.random.default_rng(0)
    net = Network(True, [1, 197, 192])
    y = net.product("MatMul", "qkv", "x", rng.normal(0, 0.1, (192, 576)).astype(np.float32))
    y = net.add("Reshape", "split", y, net.constant("parts", np.array([1, 197, 3, 3, 64])))
    y = net.add("Transpose", "turn", y, perm=[2, 0, 3, 1, 4])
    q, k, v = (
        net.add("Gather", f"take{i}", y, net.constant(f"index{i}", np.array(i)), axis=0) for i in range(3)
    )
    k = net.add("Transpose", "turn_k", k, perm=[0, 1, 3, 2])
    y = net.add("Softmax", "softmax", net.product("MatMul", "scores", q, k), axis=-1)
    y = net.add("Transpose", "turn_back", net.product("MatMul", "mix", y, v), perm=[0, 2, 1, 3])
    y = net.add("Reshape", "join", y, net.constant("whole", np.array([1, 197, 192])))
    y = net.product("MatMul", "project", y, rng.normal(0, 0.1, (192, 192)).astype(np.float32))
    return net.save(y, [1, 197, 192], path), net.names


def test_attention_is_one_layer_for_two_products(build: Any, tmp_path: Path) -> None:
    model, names = attention(tmp_path / "attention.onnx")
    found, _ = build(model)
    assert found.precisions(names) == dict.fromkeys(names, "int8")
    assert found.computing("scores") == found.computing("mix") != ()
    assert len(found.arithmetic(names)) == 3
