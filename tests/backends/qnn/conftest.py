"""Contexts of the tiny network, compiled once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from edgetl import profiles
from edgetl.backends.base import Calibration, EngineSpec, Session
from edgetl.backends.qnn import QnnBackend
from edgetl.contract.onnx_prefix import INPUT
from edgetl.profiles import Recipe, Target


@dataclass(frozen=True)
class Compiled:
    """A context and what it was made from."""

    target: Target
    portable: Path
    engine: Path
    spec: EngineSpec

    def emulate(self, *, throughput: bool = False) -> Session:
        backend = QnnBackend()
        spec = backend.simulator(self.spec)
        assert spec is not None
        return backend.load(self.engine, spec, throughput=throughput)


@pytest.fixture(scope="session")
def qnn() -> QnnBackend:
    backend = QnnBackend()
    found = backend.available()
    if not found.ok:
        pytest.skip(f"{found.reason}")
    if "emulation" not in found.devices:
        pytest.skip("QNN emulates the HTP on x86 only")
    return backend


@pytest.fixture(scope="session")
def quantized(
    qnn: QnnBackend,
    tiny: object,
    calibration: Calibration,
    recipe: Recipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("qnn") / "quantized.onnx"
    target = profiles.target("qcs6490")
    qnn.quantize(tiny.model, calibration, recipe, target, [], out)  # type: ignore[attr-defined]
    return out


@pytest.fixture(scope="session")
def compile_for(
    qnn: QnnBackend, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path, Target], Compiled]:
    def compile_it(model: Path, target: Target) -> Compiled:
        folder = tmp_path_factory.mktemp(target.name)
        portable, engine = folder / "model.onnx", folder / "engine"
        engine.mkdir()
        qnn.prepare(model, target, portable)
        name = qnn.build(portable, target, engine)
        spec = EngineSpec("qnn", name, target.precision, target.float_precision, target.device)
        return Compiled(target, portable, engine / name, spec)

    return compile_it


@pytest.fixture(scope="session")
def compiled(quantized: Path, compile_for: Callable[[Path, Target], Compiled]) -> Compiled:
    return compile_for(quantized, profiles.target("sm8650"))


@pytest.fixture
def strange(quantized: Path, tmp_path: Path) -> Path:
    """The quantized network with an operator behind it that no HTP has."""
    model = onnx.load(quantized)
    node = onnx.helper.make_node("Hardmax", [model.graph.output[0].name], ["hard"], name="strange")
    model.graph.node.append(node)
    model.graph.output[0].name = "hard"
    assert model.graph.input[0].name == INPUT
    out = tmp_path / "strange.onnx"
    onnx.save(model, out)
    return out


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the children's logs go in this test."""
    folder = tmp_path / "logs"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
