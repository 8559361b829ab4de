from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import (
    INPUT,
    graft_prefix,
    has_prefix,
    read_contract,
    read_labels,
    set_metadata,
)
from edgetl.errors import InputError


def identity(shape: list[int | str], kind: int = TensorProto.FLOAT, name: str = "x") -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], ["y"])],
        "identity",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: images})[0]


@pytest.mark.parametrize("name", ["x", INPUT])
def test_normalises_as_the_contract_says(contract: Contract, batch: np.ndarray, name: str) -> None:
    model = graft_prefix(identity(["N", 3, 32, 32], name=name), contract)
    onnx.checker.check_model(model, full_check=True)
    mean, std = np.array(contract.mean), np.array(contract.std)
    wanted = ((batch / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert np.abs(run(model, batch) - wanted).max() < 1e-6


def test_every_grey_level_within_a_millionth() -> None:
    contract = Contract(16, 16, "stretch", 16, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    wanted = ((images / 255 - np.array(contract.mean)) / np.array(contract.std)).transpose(0, 3, 1, 2)
    assert np.abs(run(graft_prefix(identity(["N", 3, 16, 16]), contract), images) - wanted).max() < 1e-6


def test_input_is_renamed_inside_branches_too(contract: Contract, batch: np.ndarray) -> None:
    def branch(operator: str) -> onnx.GraphProto:
        node = helper.make_node(operator, [INPUT], [f"out_{operator}"])
        output = helper.make_tensor_value_info(f"out_{operator}", TensorProto.FLOAT, None)
        return helper.make_graph([node], operator, [], [output])

    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    chosen = helper.make_node("If", ["yes"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs"))
    model = identity(["N", 3, 32, 32], name=INPUT)
    model.graph.node[0].CopyFrom(chosen)
    model.graph.initializer.append(yes)
    plain = run(graft_prefix(identity(["N", 3, 32, 32]), contract), batch)
    assert np.array_equal(run(graft_prefix(model, contract), batch), -plain)


def test_model_itself_is_left_alone_and_contract_travels(contract: Contract) -> None:
    model = identity(["N", 3, 32, 32])
    before = model.SerializeToString()
    grafted = graft_prefix(model, contract)
    assert model.SerializeToString() == before and not has_prefix(model)
    assert has_prefix(grafted) and read_contract(grafted) == contract and read_contract(model) is None


@pytest.mark.parametrize("batch", [1, 4, "N"])
def test_batch_dimension_is_kept(contract: Contract, batch: int | str) -> None:
    grafted = graft_prefix(identity([batch, 3, 32, 32]), contract)
    dim = grafted.graph.input[0].type.tensor_type.shape.dim[0]
    assert (dim.dim_value or dim.dim_param) == batch


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ([1, 3, 31, 32], TensorProto.FLOAT),
        ([1, 1, 32, 32], TensorProto.FLOAT),
        ([1, 32, 32, 3], TensorProto.FLOAT),
        ([1, 3, 32], TensorProto.FLOAT),
        ([1, 3, 32, 32], TensorProto.UINT8),
        ([1, 3, 32, 32], TensorProto.FLOAT16),
    ],
)
def test_other_inputs_are_refused(contract: Contract, shape: list[int | str], kind: int) -> None:
    with pytest.raises(InputError):
        graft_prefix(identity(shape, kind), contract)


def test_two_inputs_are_refused(contract: Contract) -> None:
    model = identity(["N", 3, 32, 32])
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    with pytest.raises(InputError, match="it has 2"):
        graft_prefix(model, contract)


def test_labels_and_contract_are_replaced_not_repeated(contract: Contract) -> None:
    model = identity(["N", 3, 32, 32])
    set_metadata(model, contract, ["a", "b"], {"k": "v"})
    set_metadata(model, replace(contract, background=0), ["ä", "日本"])
    assert read_labels(model) == ("ä", "日本")
    assert read_contract(model) == replace(contract, background=0)
    assert len(model.metadata_props) == 3


@pytest.mark.parametrize("text", ["", "{", "null", "3", "[]", '{"height": 1}', "[" * 5000])
def test_damaged_contract_is_an_input_error(text: str) -> None:
    model = identity(["N", 3, 32, 32])
    helper.set_model_props(model, {"edgetl.contract": text})
    with pytest.raises(InputError):
        read_contract(model)


@pytest.mark.parametrize("text", ["", "{", "3", "null", '"ab"'])
def test_damaged_labels_are_an_input_error(text: str) -> None:
    model = identity(["N", 3, 32, 32])
    helper.set_model_props(model, {"edgetl.labels": text})
    with pytest.raises(InputError):
        read_labels(model)


def test_survives_saving(tiny: Any, contract: Contract) -> None:
    model = onnx.load(tiny.model)
    assert read_contract(model) == contract and read_labels(model) == ("blue", "green", "red")
