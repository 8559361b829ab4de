"""A plain chain of three convolutions, whose layers the tests of this folder count."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper

from edgetl.conformance.network import CLASSES, CONTRACT, Network
from edgetl.contract.onnx_prefix import graft_prefix, set_metadata
from edgetl.exporting.graph import finish, save
from edgetl.exporting.head import add_head

SIDE = 32
FEATURES = 16


def write_chain(folder: Path) -> Network:
    """Three convolutions, sixteen features, three classes."""
    weight = np.random.default_rng(1).normal(0, 1, (len(CLASSES), FEATURES)).astype(np.float32)
    bias = np.zeros(len(CLASSES), np.float32)
    paths = (folder / f"{name}.onnx" for name in ("foreign", "backbone", "model"))
    files = Network(*paths, weight, bias)
    bare = _convolutions()
    foreign = add_head(bare, weight, bias)
    foreign.graph.node[-1].name = "gemm"
    files.foreign.write_bytes(foreign.SerializeToString())
    finish(graft_prefix(bare, CONTRACT), files.backbone)
    model = add_head(onnx.load(files.backbone), weight, bias)
    set_metadata(model, CONTRACT, CLASSES)
    save(model, files.model)
    return files


def _convolutions() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    widths, tensor, nodes, weights = (3, 8, 16, FEATURES), "image", [], []
    for layer, (before, after) in enumerate(pairwise(widths)):
        kernel = rng.normal(0, (2 / (9 * before)) ** 0.5, (after, before, 3, 3)).astype(np.float32)
        bias = rng.normal(0, 0.1, after).astype(np.float32)
        weights += [numpy_helper.from_array(kernel, f"w{layer}"), numpy_helper.from_array(bias, f"b{layer}")]
        nodes.append(
            helper.make_node(
                "Conv",
                [tensor, f"w{layer}", f"b{layer}"],
                [f"c{layer}"],
                name=f"conv{layer}",
                strides=[2, 2] if layer < 2 else [1, 1],
                pads=[1, 1, 1, 1],
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"], name=f"relu{layer}"))
        tensor = f"r{layer}"
    nodes.append(helper.make_node("GlobalAveragePool", [tensor], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"], name="flatten", axis=1))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", FEATURES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model, full_check=True)
    return model
