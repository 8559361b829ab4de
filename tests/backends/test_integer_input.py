from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgetl.backends import get_backend
from edgetl.backends.base import Calibration
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix
from edgetl.profiles import Recipe

GREY = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
COLOURED = ((0.4, 0.5, 0.6), (0.2, 0.2, 0.2))


def quantized(
    folder: Path, kit: Any, tiny: Any, contract: Contract, calibration: Calibration, recipe: Recipe
) -> tuple[Path, onnx.ModelProto]:
    """The network behind a contract, quantized by onnxruntime's backend: float and integer file."""
    plain = folder / "float.onnx"
    plain.write_bytes(graft_prefix(onnx.load(tiny.foreign), contract).SerializeToString())
    get_backend("onnxruntime").quantize(plain, calibration, recipe, kit.target, [], folder / "int8.onnx")
    return plain, onnx.load(folder / "int8.onnx")


@pytest.mark.parametrize(("colours", "rewritten"), [(GREY, True), (COLOURED, False)])
def test_pixels_are_used_as_they_are_where_channels_are_alike(
    colours: Any,
    rewritten: bool,
    tmp_path: Path,
    kits: Any,
    tiny: Any,
    contract: Contract,
    calibration: Calibration,
    recipe: Recipe,
    batch: np.ndarray,
) -> None:
    kit = kits("onnxruntime")
    mean, std = colours
    contract = replace(contract, mean=mean, std=std)
    plain, model = quantized(tmp_path, kit, tiny, contract, calibration, recipe)
    onnx.checker.check_model(model, full_check=True)
    operators = {node.op_type for node in model.graph.node}
    assert ("Cast" not in operators) is rewritten and ("Sub" not in operators) is rewritten
    backend = get_backend("onnxruntime")
    spec = kit.spec
    expected = backend.load(plain, replace(spec, precision="f32")).run(batch)
    found = backend.load(tmp_path / "int8.onnx", spec).run(batch)
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.995
    used = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used
