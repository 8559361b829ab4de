"""Q/DQ in TensorRT's dialect, at the places where TensorRT fuses them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends.base import Calibration
from edgetl.backends.tensorrt.dialect import check
from edgetl.backends.tensorrt.quantizer import quantize
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import INPUT, graft_prefix, read_labels
from edgetl.errors import BackendError, InputError
from edgetl.profiles import Recipe, Target

MakeTarget = Callable[..., Target]


def answers(model: Path, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {INPUT: image[None]})[0] for image in images])


class Graph:
    """A model's nodes by name and by what they make."""

    def __init__(self, path: Path) -> None:
        self.model = onnx.load(path)
        graph = self.model.graph
        self.nodes = {node.name: node for node in graph.node}
        self.made = {tensor: node for node in graph.node for tensor in node.output}
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def sources(self, name: str) -> list[str]:
        """What makes each input of a node: a node's name behind ``q:`` where Q/DQ stands between them."""
        found = []
        for tensor in self.nodes[name].input:
            node = self.made.get(tensor)
            if node is None:
                found.append("constant")
            elif node.op_type != "DequantizeLinear":
                found.append(node.name)
            elif node.input[0] in self.constants:
                found.append(f"q:{self.constants[node.input[0]].dtype}")
            else:
                found.append(f"q:{self.made[self.made[node.input[0]].input[0]].name}")
        return found

    def readers(self, name: str) -> set[str]:
        made = set(self.nodes[name].output)
        return {node.op_type for node in self.model.graph.node if made.intersection(node.input)}


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Path:
    """Two residual blocks, one with a convolution in its skip; then two other sums, one with a constant."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def conv(name: str, source: str, inputs: int, stride: int = 1) -> str:
        kernel = rng.normal(0, (2 / (9 * inputs)) ** 0.5, (8, inputs, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{name}.w"))
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, 8).astype(np.float32), f"{name}.b"))
        operands = [source, f"{name}.w", f"{name}.b"]
        pads = [1, 1, 1, 1]
        nodes.append(helper.make_node("Conv", operands, [name], name=name, pads=pads, strides=[stride] * 2))
        return name

    def op(kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    stem = op("Relu", "stem.relu", conv("stem", "image", 3))
    first = conv("a.2", op("Relu", "a.relu", conv("a.1", stem, 8)), 8)
    middle = op("Relu", "a.out", op("Add", "a.add", first, stem))
    second = conv("b.2", op("Relu", "b.relu", conv("b.1", middle, 8, 2)), 8)
    last = op("Relu", "b.out", op("Add", "b.add", second, conv("b.down", middle, 8, 2)))
    weights.append(numpy_helper.from_array(np.full(8, 0.5, np.float32).reshape(1, 8, 1, 1), "half"))
    shifted = op("Add", "shift", last, "half")
    summed = op("Add", "sum", shifted, last)
    op("Flatten", "features", op("GlobalAveragePool", "pool", summed), axis=1)
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("residual") / "model.onnx"
    onnx.save(graft_prefix(model, contract), path)
    return path


@pytest.fixture
def run(
    calibration: Calibration, recipe: Recipe, rtx_target: MakeTarget, tmp_path: Path
) -> Callable[..., Path]:
    def make(model: Path, keep_float: tuple[str, ...] = (), name: str = "q.onnx", **changes: Any) -> Path:
        bits = changes.pop("weight_bits", 8)
        changed = recipe.model_copy(update=changes)
        quantize(model, calibration, changed, rtx_target(weight_bits=bits), keep_float, tmp_path / name)
        return tmp_path / name

    return make


def test_inputs_of_convolutions_and_products_are_quantized_and_nothing_else(chain: Any, qdq: Path) -> None:
    graph = Graph(qdq)
    onnx.checker.check_model(graph.model, full_check=True)
    assert check(graph.model) == []
    assert read_labels(graph.model) == ("blue", "green", "red")
    assert graph.sources("conv0") == ["q:edgetl/std", "q:int8", "constant"]  # float bias
    assert graph.sources("conv1") == ["q:relu0", "q:int8", "constant"]
    assert graph.sources("edgetl/head") == ["q:flatten", "q:int8", "constant"]
    for conv in ("conv0", "conv1", "conv2"):
        assert graph.readers(conv) == {"Relu"}  # nothing between a convolution and its activation
    kinds = [node.op_type for node in graph.model.graph.node]
    assert kinds.count("QuantizeLinear") == 4 and kinds.count("DequantizeLinear") == 8


def test_answers_are_close_to_float(chain: Any, qdq: Path, batch: np.ndarray) -> None:
    exact, found = answers(chain.model, batch), answers(qdq, batch)
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.999
    assert (exact.argmax(1) == found.argmax(1)).all()


def test_the_skip_of_a_residual_addition_is_quantized_and_its_convolution_is_not(
    residual: Path, run: Callable[..., Path], batch: np.ndarray
) -> None:
    path = run(residual)
    graph = Graph(path)
    onnx.checker.check_model(graph.model, full_check=True)
    assert check(graph.model) == []
    assert graph.sources("a.add") == ["a.2", "q:stem.relu"]
    assert graph.sources("b.add") == ["b.2", "q:b.down"]
    assert graph.sources("shift") == ["b.out", "constant"]  # no residual addition
    assert graph.sources("sum") == ["shift", "b.out"]
    assert graph.readers("a.2") == graph.readers("b.2") == {"Add"}
    used = {name for node in graph.model.graph.node for name in node.input}
    assert graph.constants.keys() <= used
    assert np.corrcoef(answers(residual, batch).ravel(), answers(path, batch).ravel())[0, 1] > 0.995


def test_tensorrt_builds_the_residual_network(
    rtx: Any, rtx_target: MakeTarget, residual: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    rtx.prepare(run(residual), rtx_target(float_precision="f32"), tmp_path / "model.onnx")
    engine = tmp_path / rtx.build(tmp_path / "model.onnx", rtx_target(float_precision="f32"), tmp_path)
    assert engine.stat().st_size > 0


def test_nodes_kept_in_float(residual: Path, run: Callable[..., Path]) -> None:
    graph = Graph(run(residual, keep_float=("a.2", "b.add")))
    assert graph.sources("a.2") == ["a.relu", "constant", "constant"]
    assert graph.sources("b.add") == ["b.2", "b.down"]
    assert graph.sources("b.1")[0] == "q:a.out"


def test_nodes_without_names(residual: Path, run: Callable[..., Path], tmp_path: Path) -> None:
    model = onnx.load(residual)
    for node in model.graph.node:
        node.name = ""
    (tmp_path / "unnamed.onnx").write_bytes(model.SerializeToString())
    kinds = [
        [node.op_type for node in onnx.load(run(path, name=f"{path.stem}.q")).graph.node]
        for path in (residual, tmp_path / "unnamed.onnx")
    ]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_have_a_scale_for_each_channel_as_the_recipe_says(
    chain: Any, run: Callable[..., Path], per_channel: bool
) -> None:
    graph = Graph(run(chain.model, per_channel=per_channel))
    for name, channels in (("conv0", 8), ("conv2", 16), ("edgetl/head", 3)):
        weight = graph.made[graph.nodes[name].input[1]]
        assert graph.constants[weight.input[1]].size == (channels if per_channel else 1)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_other_range_methods(chain: Any, qdq: Path, run: Callable[..., Path], method: str) -> None:
    path = run(chain.model, method=method)
    assert check(onnx.load(path)) == [] and path.read_bytes() != qdq.read_bytes()


def test_weights_have_eight_bits_and_bytes_repeat(chain: Any, qdq: Path, run: Callable[..., Path]) -> None:
    assert run(chain.model, weight_bits=7).read_bytes() == qdq.read_bytes()


def test_zero_points_are_refused(chain: Any, run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no zero points"):
        run(chain.model, activations="asymmetric")
    assert not (tmp_path / "q.onnx").exists()


def test_garbage(run: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(BackendError, match="garbage") as caught:
        run(tmp_path / "garbage.onnx")
    assert "\n" not in str(caught.value)


def test_calibration_holds_one_image_at_a_time_and_prints_nothing(
    chain: Any,
    recipe: Recipe,
    rtx_target: MakeTarget,
    batch: np.ndarray,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    alive = most = 0

    def died() -> None:
        nonlocal alive
        alive -= 1

    def batches() -> Iterator[np.ndarray]:
        nonlocal alive, most
        for image in batch:
            array = image[None].copy()
            weakref.finalize(array, died)
            alive += 1
            most = max(most, alive)
            yield array
            del array

    quantize(chain.model, Calibration(batches, len(batch)), recipe, rtx_target(), [], tmp_path / "q.onnx")
    assert most <= 2  # the one in work and the one just made
    assert capfd.readouterr().out == ""
