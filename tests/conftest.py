"""What many tests share: a private cache, a network of three convolutions, a folder of small pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.backends.base import Calibration, EngineSpec
from edgetl.contract import Contract
from edgetl.data import Dataset, Sample, load_dataset
from edgetl.profiles import Recipe, Target

BACKENDS = ("openvino", "onnxruntime")
CLASSES = ("blue", "green", "red")
SIDE = 32
FEATURES = 16


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's cache nor the user's profiles have a part in a test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("EDGETL_CACHE", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract(SIDE, SIDE, "shorter", 36, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="session")
def batch() -> np.ndarray:
    """Twelve smooth pictures, ``uint8 [12, 32, 32, 3]``."""
    return np.stack([_picture(number) for number in range(12)])


def _picture(number: int) -> np.ndarray:
    """A coloured gradient with a little noise; its class is ``number % 3``."""
    rng = np.random.default_rng(number)
    slope = np.linspace(0, 1, SIDE)[:, None, None] * rng.uniform(20, 80, 3)
    pixels = rng.uniform(0, 60, 3) + slope + rng.normal(0, 6, (SIDE, SIDE, 3))
    pixels[..., 2 - number % 3] += 110
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pictures in three class folders; don't write into it."""
    root = tmp_path_factory.mktemp("images")
    for number in range(48):
        folder = root / CLASSES[number % 3]
        folder.mkdir(exist_ok=True)
        Image.fromarray(_picture(100 + number)).resize((40, 36)).save(folder / f"{number:03}.png")
    return root


@pytest.fixture(scope="session")
def dataset(image_folder: Path) -> Dataset:
    return load_dataset(image_folder)


@pytest.fixture(scope="session")
def samples(dataset: Dataset) -> tuple[Sample, ...]:
    return (*dataset.train, *dataset.val, *dataset.test)


@dataclass(frozen=True)
class Tiny:
    """The network's files: ``foreign`` takes float NCHW; the others ``uint8 [N, 32, 32, 3]``."""

    foreign: Path
    backbone: Path
    model: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Tiny:
    """Three convolutions, sixteen features, three classes."""
    import onnx

    from edgetl.contract.onnx_prefix import graft_prefix, set_metadata
    from edgetl.exporting.graph import finish, save
    from edgetl.exporting.head import add_head

    folder = tmp_path_factory.mktemp("tiny")
    files = Tiny(folder / "foreign.onnx", folder / "backbone.onnx", folder / "model.onnx")
    weight = np.random.default_rng(1).normal(0, 1, (len(CLASSES), FEATURES)).astype(np.float32)
    bare = _convolutions()
    foreign = add_head(bare, weight, np.zeros(len(CLASSES), np.float32))
    foreign.graph.node[-1].name = "gemm"
    files.foreign.write_bytes(foreign.SerializeToString())
    finish(graft_prefix(bare, contract), files.backbone)
    model = add_head(onnx.load(files.backbone), weight, np.zeros(len(CLASSES), np.float32))
    set_metadata(model, contract, CLASSES)
    save(model, files.model)
    return files


def _convolutions() -> onnx.ModelProto:  # type: ignore[name-defined]  # noqa: F821
    from onnx import TensorProto, checker, helper, numpy_helper

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


@dataclass(frozen=True)
class Kit:
    """One backend with what it takes to make an engine of the tiny network.

    Attributes:
        float_engine: built from the float model.
        int8_model: quantized QDQ ONNX.
        int8_engine: built from it.
    """

    name: str
    target: Target
    spec: EngineSpec
    float_engine: Path
    int8_model: Path
    int8_engine: Path

    def with_file(self, precision: str) -> tuple[Path, EngineSpec]:
        from dataclasses import replace

        engine = self.float_engine if precision == "f32" else self.int8_engine
        return engine, replace(self.spec, precision=precision)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return Recipe(name="tiny", title="for tests", images=12)


@pytest.fixture(scope="session")
def calibration(batch: np.ndarray) -> Calibration:
    return Calibration(lambda: (image[None] for image in batch), len(batch))


@pytest.fixture(scope="session")
def kits(
    tmp_path_factory: pytest.TempPathFactory, tiny: Tiny, recipe: Recipe, calibration: Calibration
) -> Callable[[str], Kit]:
    """A backend's kit, made once a session."""
    from edgetl.backends import get_backend

    made: dict[str, Kit] = {}

    def make(name: str) -> Kit:
        device = "CPU" if name == "openvino" else "CPUExecutionProvider"
        target = Target(
            name=f"tiny-{name}",
            title="for tests",
            backend=name,
            precision="int8",
            machine="x86_64",
            device=device,
        )
        folder = tmp_path_factory.mktemp(name)
        for part in ("float", "int8"):
            (folder / part).mkdir()
        backend = get_backend(name)
        quantized = folder / "int8.onnx"
        backend.quantize(tiny.model, calibration, recipe, target, [], quantized)
        float_file = backend.build(tiny.model, target, folder / "float")
        int8_file = backend.build(quantized, target, folder / "int8")
        spec = EngineSpec(name, int8_file, "int8", "f32", device)
        return Kit(name, target, spec, folder / "float" / float_file, quantized, folder / "int8" / int8_file)

    def kit(name: str) -> Kit:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return kit


@pytest.fixture(params=BACKENDS)
def kit(request: pytest.FixtureRequest, kits: Callable[[str], Kit]) -> Kit:
    return kits(request.param)
