from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.contract.onnx_prefix import INPUT, has_prefix, read_labels
from edgetl.errors import EdgetlError, InputError
from edgetl.exporting.graph import finish, opset, read, save
from edgetl.exporting.head import LOGITS, add_head, has_float_head, remove_head

WEIGHT = np.random.default_rng(3).normal(size=(5, 16)).astype(np.float32)
BIAS = np.arange(5, dtype=np.float32)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: images})[0]


def test_finish_is_deterministic_and_keeps_the_answers(tiny: Any, batch: np.ndarray, tmp_path: Path) -> None:
    facts = [finish(onnx.load(tiny.model), tmp_path / name) for name in ("a", "b")]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert facts[0] == facts[1] and facts[0]["outputs"] == 3 and facts[0]["opset"] == 17
    finished = read(tmp_path / "a")
    assert np.allclose(run(finished, batch), run(onnx.load(tiny.model), batch), atol=1e-5)
    assert has_prefix(finished) and read_labels(finished) == ("blue", "green", "red")


def test_finish_takes_the_exporters_notes_off(tiny: Any, tmp_path: Path) -> None:
    model = onnx.load(tiny.model)
    model.doc_string = "/home/someone"
    model.graph.node[0].doc_string = "/home/someone/model.py"
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.stack_trace", "/home/someone/model.py:3"
    finish(model, tmp_path / "m")
    assert b"/home/someone" not in (tmp_path / "m").read_bytes()


def test_save_refuses_an_invalid_graph(tiny: Any, tmp_path: Path) -> None:
    model = onnx.load(tiny.model)
    model.graph.node[-1].input[0] = "nowhere"
    with pytest.raises(EdgetlError, match="not valid ONNX") as caught:
        save(model, tmp_path / "m")
    assert "\n" not in str(caught.value) and not (tmp_path / "m").exists()


@pytest.mark.parametrize("data", [b"", b"text", b"\x00garbage" * 50, None])
def test_read_refuses_what_is_no_onnx(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "m.onnx"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"m\.onnx") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_read_refuses_half_a_file(tiny: Any, tmp_path: Path) -> None:
    data = tiny.model.read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "m.onnx").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError):
            read(tmp_path / "m.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_read_refuses_weights_that_are_no_numbers(tiny: Any, tmp_path: Path, value: float) -> None:
    model = onnx.load(tiny.model)
    first = model.graph.initializer[0]
    weights = numpy_helper.to_array(first).copy()
    weights.flat[0] = value
    first.CopyFrom(numpy_helper.from_array(weights, first.name))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="NaN or infinity"):
        read(tmp_path / "m.onnx")


def test_read_brings_in_weights_that_lie_beside_the_model(tiny: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        onnx.load(tiny.model),
        folder / "m.onnx",
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
    )
    whole = {tensor.name: numpy_helper.to_array(tensor) for tensor in read(tiny.model).graph.initializer}
    for tensor in read(folder / "m.onnx").graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), whole[tensor.name])
    (folder / "weights").rename(tmp_path / "weights")
    with pytest.raises(InputError, match="no file beside it"):
        read(folder / "m.onnx")
    model = onnx.load(folder / "m.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights"
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="no file beside it"):
        read(folder / "m.onnx")


def test_read_refuses_an_old_opset(tiny: Any, tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([node], "old", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="opset 9"):
        read(tmp_path / "m.onnx")
    assert opset(model) == 9 and opset(read(tiny.model)) == 17


def test_head_computes_what_it_says(tiny: Any, batch: np.ndarray) -> None:
    backbone = read(tiny.backbone)
    model = add_head(backbone, WEIGHT, BIAS)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.output[0].name == LOGITS
    assert np.allclose(run(model, batch), run(backbone, batch) @ WEIGHT.T + BIAS, atol=1e-4)


def test_head_comes_off_again(tiny: Any, batch: np.ndarray) -> None:
    backbone = read(tiny.backbone)
    model = add_head(backbone, WEIGHT, BIAS)
    bare = remove_head(model)
    onnx.checker.check_model(bare, full_check=True)
    assert has_float_head(model) and not has_float_head(bare)
    assert np.array_equal(run(bare, batch), run(backbone, batch))
    assert {t.name for t in bare.graph.initializer} == {t.name for t in backbone.graph.initializer}
    assert np.array_equal(run(add_head(bare, WEIGHT, BIAS), batch), run(model, batch))


@pytest.mark.parametrize(("weight", "bias"), [(WEIGHT[:, :8], BIAS), (WEIGHT, BIAS[:3])])
def test_a_head_that_does_not_fit(tiny: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    with pytest.raises(InputError, match="does not fit"):
        add_head(read(tiny.backbone), weight, bias)


def test_a_head_needs_a_vector(tiny: Any) -> None:
    backbone = read(tiny.backbone)
    backbone.graph.output[0].CopyFrom(helper.make_tensor_value_info("r2", TensorProto.FLOAT, ["N", 16, 8, 8]))
    with pytest.raises(InputError, match="4 dimensions"):
        add_head(backbone, WEIGHT, BIAS)


def test_no_head_to_remove(tiny: Any, kits: Any) -> None:
    with pytest.raises(InputError, match="no float head"):
        remove_head(read(tiny.backbone))
    assert not has_float_head(read(kits("onnxruntime").int8_model))
