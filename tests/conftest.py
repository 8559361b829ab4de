"""What many tests share: a private cache, a network of three convolutions, a folder of small pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgetl.backends import get_backend
from edgetl.backends.base import Calibration, EngineSpec
from edgetl.bundle.write import Content
from edgetl.conformance.case import calibration_of
from edgetl.conformance.network import CLASSES, CONTRACT, Network, pictures, write_network
from edgetl.contract import Contract
from edgetl.data import Dataset, Sample, load_dataset
from edgetl.device.environment import environment, fingerprint
from edgetl.profiles import Recipe, Target

BACKENDS = ("openvino", "onnxruntime")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's cache nor the user's profiles have a part in a test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("EDGETL_CACHE", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))


@pytest.fixture(scope="session")
def contract() -> Contract:
    return CONTRACT


@pytest.fixture(scope="session")
def batch() -> np.ndarray:
    """Twelve smooth pictures, ``uint8 [12, 32, 32, 3]``."""
    return pictures(range(12))


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pictures in three class folders; don't write into it."""
    root = tmp_path_factory.mktemp("images")
    for number, pixels in enumerate(pictures(range(100, 148))):
        folder = root / CLASSES[number % 3]
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((40, 36)).save(folder / f"{number:03}.png")
    return root


@pytest.fixture(scope="session")
def dataset(image_folder: Path) -> Dataset:
    return load_dataset(image_folder)


@pytest.fixture(scope="session")
def samples(dataset: Dataset) -> tuple[Sample, ...]:
    return (*dataset.train, *dataset.val, *dataset.test)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Three convolutions, sixteen features, three classes."""
    return write_network(tmp_path_factory.mktemp("tiny"))


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
    return calibration_of(batch)


@pytest.fixture(scope="session")
def kits(
    tmp_path_factory: pytest.TempPathFactory, tiny: Network, recipe: Recipe, calibration: Calibration
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


@pytest.fixture(scope="session")
def contents(kits: Callable[[str], Any], contract: Contract, batch: np.ndarray) -> Callable[[str], Content]:
    """What a bundle of the tiny network holds, by backend; trained on no image of the tests."""

    def content(name: str) -> Content:
        kit = kits(name)
        session = get_backend(name).load(kit.int8_engine, kit.spec)
        return Content(
            target=kit.target.name,
            spec=kit.spec,
            engine=kit.int8_engine.parent,
            portable=kit.int8_model,
            contract=contract,
            labels=CLASSES,
            precision=session.precision().to_dict(),
            device=fingerprint(environment()),
            versions={"edgetl": "0.1.0", "numpy": "2.0"},
            provenance={"model": "abc"},
            golden_input=batch[:4],
            golden_output=np.concatenate([session.run(image[None]) for image in batch[:4]]),
            measurements={},
            trained_on=["b" * 64, "a" * 64],
        )

    return content
