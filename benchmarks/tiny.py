"""A network of two convolutions with the usual input and 1,280 outputs: what is left is edgetl's own cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix
from edgetl.exporting.graph import finish

SIDE, FEATURES = 224, 1280
CONTRACT = Contract(SIDE, SIDE, "stretch", SIDE, "nearest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def write(out: Path) -> Path:
    """Write ``images: uint8 [N, 224, 224, 3] → features: float32 [N, 1280]``."""
    rng = np.random.default_rng(0)
    nodes, weights, tensor = [], [], "image"
    for layer, (before, after) in enumerate(((3, 8), (8, 16))):
        kernel = rng.normal(0, (2 / (16 * before)) ** 0.5, (after, before, 4, 4)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{layer}"))
        nodes += [
            helper.make_node("Conv", [tensor, f"kernel{layer}"], [f"conv{layer}"], strides=[4, 4]),
            helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"]),
        ]
        tensor = f"relu{layer}"
    dense = rng.normal(0, 0.25, (16, FEATURES)).astype(np.float32)
    weights.append(numpy_helper.from_array(dense, "dense"))
    nodes += [
        helper.make_node("GlobalAveragePool", [tensor], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "dense"], ["features"]),
    ]
    for node in nodes:
        node.name = node.output[0]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", FEATURES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    finish(graft_prefix(model, CONTRACT), out)
    return out
