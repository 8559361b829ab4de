"""NNCF on networks that it, or onnxruntime beneath it, has trouble with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends.base import Calibration
from edgetl.conformance.network import CONTRACT, SIDE
from edgetl.contract.onnx_prefix import graft_prefix
from edgetl.profiles import Recipe, target

WIDTH = 16


@pytest.fixture
def shortcut(tmp_path: Path) -> Path:
    """A residual network whose first shortcut is a convolution, as ResNets have them."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def conv(name: str, source: str, inputs: int = WIDTH, *, size: int = 3, stride: int = 1) -> str:
        kernel = rng.normal(0, (2 / (inputs * size * size)) ** 0.5, (WIDTH, inputs, size, size))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"{name}.w"))
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, WIDTH).astype(np.float32), f"{name}.b"))
        padding = {"pads": [size // 2] * 4, "strides": [stride] * 2}
        names = [source, f"{name}.w", f"{name}.b"]
        nodes.append(helper.make_node("Conv", names, [name], name=name, **padding))
        return name

    def operator(kind: str, name: str, *sources: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(sources), [name], name=name, **attributes))
        return name

    first = operator("Relu", "stem_relu", conv("stem", "image", 3, stride=2))
    inner = operator("Relu", "inner_relu", conv("inner", first, stride=2))
    outer = conv("outer", inner)
    side = conv("side", first, size=1, stride=2)
    block = operator("Relu", "block", operator("Add", "sum", outer, side))
    second = operator("Relu", "second_relu", conv("second", block))
    last = operator("Relu", "last", operator("Add", "sum2", conv("third", second), block))
    operator("Flatten", "features", operator("GlobalAveragePool", "pooled", last), axis=1)
    graph = helper.make_graph(
        nodes,
        "shortcut",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", WIDTH])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(graft_prefix(model, CONTRACT), tmp_path / "shortcut.onnx")
    return tmp_path / "shortcut.onnx"


def test_the_bias_behind_a_shortcut_is_corrected(
    shortcut: Path, calibration: Calibration, recipe: Recipe, tmp_path: Path
) -> None:
    """Full bias correction asks onnxruntime for an output that one of its fusions drops."""
    from edgetl.backends.openvino.quantizer import quantize

    assert recipe.bias_correction == "full"
    quantize(shortcut, calibration, recipe, target("x86-vnni"), [], tmp_path / "int8.onnx")
    before, after = (
        {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
        for path in (shortcut, tmp_path / "int8.onnx")
    )
    changed = [name for name in before if name.endswith(".b") and (after[name] != before[name]).any()]
    assert {"outer.b", "side.b", "third.b"} <= set(changed)
