from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import has_prefix, read_contract, set_metadata
from edgetl.errors import ContractMismatchError, InputError
from edgetl.exporting.foreign import open_graph


@pytest.fixture
def context() -> Context:
    return Context()


def run(path: Path, name: str, images: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {name: images})[0]


def test_a_foreign_model_gets_prefix_and_contract(
    context: Context, tiny: Any, contract: Contract, batch: np.ndarray
) -> None:
    found = open_graph(context, tiny.foreign, contract)
    assert found.contract == contract and found.labels == ("0", "1", "2") and not found.quantized
    model = onnx.load(found.path)
    assert has_prefix(model) and read_contract(model) == contract
    pixels = (batch / 255 - np.array(contract.mean)) / np.array(contract.std)
    wanted = run(tiny.foreign, "image", pixels.transpose(0, 3, 1, 2).astype(np.float32))
    assert np.allclose(run(found.path, "images", batch), wanted, atol=1e-4)
    assert open_graph(context, tiny.foreign, contract) == found


def test_our_own_model_is_taken_as_it_is(context: Context, tiny: Any, contract: Contract) -> None:
    for declared in (None, contract):
        found = open_graph(context, tiny.model, declared)
        assert found.path == tiny.model and found.labels == ("blue", "green", "red")
    with pytest.raises(ContractMismatchError):
        open_graph(context, tiny.model, replace(contract, background=0))


def test_quantized_is_noticed(context: Context, kits: Any) -> None:
    assert open_graph(context, kits("onnxruntime").int8_model).quantized


def test_a_foreign_model_needs_a_declaration(context: Context, tiny: Any) -> None:
    with pytest.raises(InputError, match="--mean"):
        open_graph(context, tiny.foreign)


def test_declared_size_must_be_the_models(context: Context, tiny: Any, contract: Contract) -> None:
    with pytest.raises(InputError, match="32x32"):
        open_graph(context, tiny.foreign, replace(contract, height=31, width=31))


def test_a_contract_without_its_input(
    context: Context, tiny: Any, contract: Contract, tmp_path: Path
) -> None:
    model = onnx.load(tiny.foreign)
    set_metadata(model, contract)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="uint8 input"):
        open_graph(context, tmp_path / "m.onnx")


def test_labels_must_be_as_many_as_the_outputs(
    context: Context, tiny: Any, contract: Contract, tmp_path: Path
) -> None:
    model = onnx.load(tiny.model)
    set_metadata(model, contract, ["only", "two"])
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="3 outputs but names 2"):
        open_graph(context, tmp_path / "m.onnx")


def test_output_must_be_logits(context: Context, tiny: Any, contract: Contract, tmp_path: Path) -> None:
    model = onnx.load(tiny.foreign)
    del model.graph.node[-1]
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", 16, 1, 1])
    )
    del model.graph.node[-1]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="expected logits"):
        open_graph(context, tmp_path / "m.onnx", contract)
