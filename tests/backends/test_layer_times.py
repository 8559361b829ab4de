"""Times of single layers: which ONNX nodes they are of, and on which device they were spent."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends import get_backend, profiling
from edgetl.backends.base import EngineSpec, LayerTime, Session
from edgetl.backends.onnxruntime.node_names import NodeNames
from edgetl.backends.onnxruntime.profile import layer_times, one_inference, share_of_time
from edgetl.backends.openvino import counters
from edgetl.conformance.case import calibration_of
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix
from edgetl.exporting.graph import save
from edgetl.exporting.head import add_head
from edgetl.profiles import Recipe, Target

CPU, QNN, CUDA = (f"{name}ExecutionProvider" for name in ("CPU", "QNN", "CUDA"))
SIDE, CHANNELS, BLOCKS = 48, 32, 10
CONTRACT = Contract(SIDE, SIDE, "shorter", SIDE, "bilinear", (0.5,) * 3, (0.5,) * 3)


@dataclass(frozen=True)
class Deep:
    """An engine of a network whose layers take long enough to be timed.

    Attributes:
        products: names of the ONNX nodes that multiply, without the head's.
    """

    backend: str
    file: Path
    spec: EngineSpec
    products: tuple[str, ...]

    def open(self) -> Session:
        return get_backend(self.backend).load(self.file, self.spec)


def write_deep(out: Path) -> None:
    """Ten convolutions, every other one depthwise, with an activation each, and a residual addition."""
    rng = np.random.default_rng(0)
    nodes, weights, tensor = [], [], "image"
    for index in range(BLOCKS):
        depthwise = index % 2 == 1
        shape = (CHANNELS, 3 if index == 0 else 1 if depthwise else CHANNELS, 3, 3)
        kernel = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{index}"))
        nodes += [
            helper.make_node(
                "Conv",
                [tensor, f"w{index}"],
                [f"c{index}"],
                name=f"block/{index}/conv",
                pads=[1, 1, 1, 1],
                group=CHANNELS if depthwise else 1,
            ),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"], name=f"block/{index}/act"),
        ]
        tensor = f"r{index}"
    nodes += [
        helper.make_node("Add", [tensor, "r5"], ["sum"], name="add"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["features"], name="flatten"),
    ]
    shapes = {"image": ["N", 3, SIDE, SIDE], "features": ["N", CHANNELS]}
    entry, exit_ = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in shapes)
    graph = helper.make_graph(nodes, "deep", [entry], [exit_], weights)
    bare = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    head = rng.normal(0, 1, (3, CHANNELS)).astype(np.float32)
    save(add_head(graft_prefix(bare, CONTRACT), head, np.zeros(3, np.float32)), out)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Deep]:
    folder = tmp_path_factory.mktemp("deep")
    write_deep(folder / "model.onnx")
    images = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    products = tuple(f"block/{index}/conv" for index in range(BLOCKS))
    made: dict[tuple[str, str], Deep] = {}

    def engine(backend: str, precision: str) -> Deep:
        if (backend, precision) not in made:
            device = "CPU" if backend == "openvino" else CPU
            facts = {"backend": backend, "precision": precision, "machine": "x86_64", "device": device}
            wanted = Target(name="deep", title="for tests", **facts)
            out = folder / backend / precision
            out.mkdir(parents=True)
            model = folder / "model.onnx"
            if precision == "int8":
                model = out / "qdq.onnx"
                recipe = Recipe(name="four", title="for tests", images=4)
                toolchain = get_backend(backend)
                toolchain.quantize(folder / "model.onnx", calibration_of(images), recipe, wanted, [], model)
            file = get_backend(backend).build(model, wanted, out)
            spec = EngineSpec(backend, file, precision, "f32", device)
            made[backend, precision] = Deep(backend, out / file, spec, products)
        return made[backend, precision]

    return engine


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(params=["int8", "f32"])
def deep(request: pytest.FixtureRequest, backend: str, engines: Callable[[str, str], Deep]) -> Deep:
    return engines(backend, request.param)


def test_layers_are_of_onnx_nodes(deep: Deep) -> None:
    layers = deep.open().layer_times()
    computing = [layer for layer in layers if set(layer.nodes) & set(deep.products)]
    found = [node for layer in computing for node in layer.nodes if node in deep.products]
    assert sorted(found) == sorted(deep.products)  # each once
    assert {layer.precision for layer in computing} == {deep.spec.precision}
    assert {layer.device for layer in layers} == {deep.spec.device}
    assert sum(layer.ms for layer in computing) > 0 and min(layer.ms for layer in layers) >= 0
    products = [layer for layer in layers if "Conv" in layer.op]
    assert all(layer in computing for layer in products) and len(products) == BLOCKS
    json.dumps([layer.to_dict() for layer in layers])
    assert products[0].to_dict()["nodes"][0] == "block/0/conv"


def test_layers_come_in_the_order_they_run(deep: Deep) -> None:
    order = [node for layer in deep.open().layer_times() for node in layer.nodes if node in deep.products]
    assert order == list(deep.products)


def test_their_sum_is_about_an_inference(deep: Deep) -> None:
    """Loosely, and again on a machine that does other work beside it."""

    def ratio() -> float:
        session = deep.open()
        black = np.zeros((1, *session.input_shape), np.uint8)
        spent = []
        for _ in range(25):
            start = time.perf_counter()
            session.run(black)
            spent.append(time.perf_counter() - start)
        return sum(layer.ms for layer in session.layer_times()) / (float(np.median(spent)) * 1e3)

    assert any(0.3 < ratio() < 3 for _ in range(4))


def test_one_profile_answers_all_and_leaves_nothing(
    engines: Callable[[str, str], Deep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runs: list[int] = []
    counted = profiling.profiled_runs
    monkeypatch.setattr(
        "edgetl.backends.onnxruntime.session.profiled_runs",
        lambda infer: runs.append(counted(infer)) or runs[-1],
    )
    session = engines("onnxruntime", "int8").open()
    session.placement(), session.precision()
    assert session.layer_times() == session.layer_times() != ()
    assert len(runs) == 1 and list(tmp_path.iterdir()) == []


def test_a_runtime_that_does_not_tell(deep: Deep) -> None:
    assert Session.layer_times(deep.open()) == ()


def test_slow_engines_run_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(profiling, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def lasting(seconds: float) -> Callable[[], None]:
        def infer() -> None:
            now[0] += seconds

        return infer

    assert profiling.warm_up(lasting(0.01)) == 3 and profiling.profiled_runs(lasting(0.01)) == 30
    assert profiling.warm_up(lasting(0.3)) == 2 and profiling.profiled_runs(lasting(0.3)) == 7
    assert profiling.warm_up(lasting(60)) == profiling.profiled_runs(lasting(60)) == 1


# onnxruntime


def test_nodes_are_read_without_onnx(engines: Callable[[str, str], Deep]) -> None:
    file = engines("onnxruntime", "int8").file
    names = NodeNames(file)
    nodes = onnx.load(file).graph.node
    assert len(nodes) > 4 * BLOCKS
    assert {output: node.name for node in nodes for output in node.output} == {
        tensor: writer.name for tensor, writer in names._writers.items()
    }
    assert all(names.computed_by(f"{node.name}_kernel_time", node.op_type) == (node.name,) for node in nodes)


@pytest.mark.parametrize(
    ("event", "operator", "nodes"),
    [
        ("block/0/conv_token_12", "QLinearConv", ("block/0/conv",)),
        ("r0_nchwc", "Conv", ("block/0/conv", "block/0/act")),
        ("c0_nchwc", "Conv", ("block/0/conv",)),
        ("block/3/conv/SomeFusion/_token_7", "Fused", ("block/3/conv",)),
        ("pooled_nchwc", "GlobalAveragePool", ("pool",)),
        ("Transpose_token_3", "Transpose", ()),
        ("ReorderOutput", "ReorderOutput", ()),
        ("block/30/conv", "Conv", ()),
        ("lost_nchwc", "Conv", ()),
    ],
)
def test_names_that_onnxruntime_derives(
    engines: Callable[[str, str], Deep], event: str, operator: str, nodes: tuple[str, ...]
) -> None:
    names = NodeNames(engines("onnxruntime", "f32").file)
    assert names.computed_by(f"{event}_kernel_time", operator) == nodes


def profile(*inferences: list[tuple[str, str, str, int]]) -> Iterator[dict[str, Any]]:
    """Events of a profile: name, provider, operator and µs of each node, inference by inference."""
    clock = 0
    for nodes in inferences:
        yield {"cat": "Session", "name": "model_run", "ts": clock, "dur": 1, "args": {}}
        for name, provider, operator, duration in nodes:
            types = [{"float": [1, 3]}]
            args = {"provider": provider, "op_name": operator, "input_type_shape": types}
            yield {"cat": "Node", "name": f"{name}_kernel_time", "ts": clock, "dur": duration, "args": args}
            clock += duration
        clock += 10


def test_medians_of_the_last_inferences() -> None:
    events = list(
        profile(
            [("conv", CPU, "Conv", 900), ("once", CPU, "Conv", 7)],
            [("conv", CPU, "Conv", 10), ("inside", CPU, "Add", 1), ("inside", CPU, "Add", 3)],
            [("conv", CPU, "Conv", 500), ("inside", CPU, "Add", 2), ("loop", CPU, "Loop", 2)],
            [("conv", CPU, "Conv", 20), ("inside", CPU, "Add", 5)],
        )
    )
    found = {event["name"]: event["dur"] for event in one_inference(events[::-1], 3)}
    assert found == {"conv_kernel_time": 20, "inside_kernel_time": 4}
    assert one_inference([], 3) == []


@pytest.mark.parametrize(("provider", "share"), [(CPU, 1.0), (QNN, 0.75), (CUDA, None)])
def test_a_fallback_is_seen_in_the_time(
    engines: Callable[[str, str], Deep], provider: str, share: float | None
) -> None:
    """A GPU's nodes take the host no time, whose times they are."""
    nodes = [("block/0/conv", provider, "Conv", 30), ("softmax", CPU, "Softmax", 10)]
    events = one_inference(list(profile(nodes, nodes)), 1)
    assert share_of_time(provider, events) == share
    layers = layer_times(events, NodeNames(engines("onnxruntime", "f32").file))
    if share is None:
        assert layers == ()
        return
    conv, softmax = layers
    assert conv == LayerTime("block/0/conv", ("block/0/conv",), "Conv", provider, "f32", 0.03)
    assert (softmax.device, softmax.nodes) == (CPU, ())


# OpenVINO


def test_a_fallback_within_openvino(kits: Callable[[str], Any]) -> None:
    """Really run by HETERO, on the one device that is here; where a convolution ran is made up."""
    kit = kits("openvino")
    spec = replace(kit.spec, device="HETERO:CPU", options={"allow_fallback": True})
    session = get_backend("openvino").load(kit.int8_engine, spec)
    layers = session.layer_times()
    assert {layer.device for layer in layers} == {"CPU"} and layers[0].name.startswith("subgraph0: ")
    assert {"conv0", "conv1", "conv2"} <= {node for layer in layers for node in layer.nodes}
    assert session.placement().share_of_time == 1.0
    moved = next(name for name in session._nodes if name.startswith("conv2"))
    session = get_backend("openvino").load(kit.int8_engine, replace(spec, device="HETERO:CPU"))
    session._nodes = {
        name: "GPU.0" if name.startswith(moved.split("/")[0]) else place
        for name, place in session._nodes.items()
    }
    placement = session.placement()
    times = {layer.name: layer for layer in session.layer_times()}
    assert 0 < placement.share_of_nodes < 1
    assert placement.share_of_time is not None and 0 <= placement.share_of_time < 1
    assert {layer.device for layer in times.values() if "conv2" in layer.nodes} == {"GPU.0"}


def test_layers_without_a_node_are_where_their_part_is() -> None:
    layers = {
        "subgraph0: a": ("a/WithoutBiases", "a"),
        "subgraph0: a_reorder": ("",),
        "subgraph1: b": ("Multiply_12", "b"),
        "subgraph1: Convert_9": ("Convert_9",),
        "subgraph2: lost": ("lost",),
    }
    assert list(counters.devices(layers, {"a": "NPU", "b": "CPU"}, "NPU,CPU").values()) == [
        "NPU",
        "NPU",
        "CPU",
        "CPU",
        "NPU,CPU",
    ]
    assert counters.original(layers["subgraph0: a"]) == ("a",)
    assert counters.original(layers["subgraph1: b"]) == ("b",)
    assert counters.original(("head/WithoutBiases/DequantizationMultiply", "")) == ("head",)


class Info:
    """What a request tells of a layer, as OpenVINO does."""

    Status = SimpleNamespace(EXECUTED="executed", NOT_RUN="not run")

    def __init__(self, name: str, microseconds: int, status: str = "executed") -> None:
        self.node_name, self.status = name, status
        self.node_type, self.exec_type = "Convolution", "some_kernel_I8"
        self.real_time = timedelta(microseconds=microseconds)


@pytest.mark.parametrize(("device", "ms"), [("CPU", 0.15), ("GPU.0", 0.1)])
def test_a_cpus_readings_are_means_from_the_first_inference_on(device: str, ms: float) -> None:
    """Inferences of 1000, 100, 100 and 250 µs, the first of which is not counted; or each by itself."""
    each = [1000, 550, 400, 362.5] if device == "CPU" else [1000, 100, 100, 250]
    readings = [{"a": Info("a", 0), "b": Info("b", 9, "not run")} for _ in each]
    for reading, us in zip(readings, each, strict=True):
        reading["a"].real_time = timedelta(microseconds=us)
    [layer] = counters.layer_times(readings, 1, {}, {}, device)
    assert layer.ms == pytest.approx(ms, rel=0.01)
    assert (layer.name, layer.nodes, layer.device, layer.precision) == ("a", ("a",), device, "int8")
