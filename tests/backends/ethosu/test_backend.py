"""From the tiny network to an engine for each packaged target, and what is said of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgetl.backends import get_backend
from edgetl.backends.base import Calibration, EngineSpec
from edgetl.backends.ethosu import ENGINE, INTEGER, EthosUBackend
from edgetl.errors import BackendError, InputError
from edgetl.profiles import Recipe, Target, target_names
from edgetl.profiles import target as packaged_target

from .conftest import target

TARGETS = [name for name in target_names() if name.startswith("ethos-")]
KINDS = {"source", "note"}


def spec_of(found: Target) -> EngineSpec:
    return EngineSpec("ethosu", ENGINE, found.precision, found.float_precision, found.device)


@pytest.fixture(scope="module")
def backend() -> EthosUBackend:
    made = EthosUBackend()
    if not made.available().ok:
        pytest.skip(f"{made.available().reason}")
    return made


@pytest.fixture(scope="module")
def quantize(
    backend: EthosUBackend,
    tiny: Any,
    recipe: Recipe,
    calibration: Calibration,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """The tiny network quantized and in the dialect, with some nodes kept in float."""

    def make(keep_float: Sequence[str] = ()) -> Path:
        folder = tmp_path_factory.mktemp("quantized")
        found = target({"allow_cpu": True}) if keep_float else target()
        backend.quantize(tiny.model, calibration, recipe, found, keep_float, folder / "int8.onnx")
        backend.prepare(folder / "int8.onnx", target(), folder / "model.onnx")
        return folder / "model.onnx"

    return make


@pytest.fixture(scope="module")
def model(quantize: Any) -> Path:
    made: Path = quantize()
    return made


def build(backend: EthosUBackend, model: Path, found: Target, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / backend.build(model, found, folder)


@pytest.mark.parametrize("name", TARGETS)
def test_every_packaged_target_takes_the_whole_model(
    backend: EthosUBackend, model: Path, tmp_path: Path, name: str
) -> None:
    found = packaged_target(name)
    engine = build(backend, model, found, tmp_path)
    proof = backend.proof(engine, spec_of(found))
    assert proof is not None and proof.precision is not None and proof.placement is not None
    assert (proof.placement.device, proof.placement.share_of_nodes) == (name, 1.0)
    assert proof.placement.elsewhere == () and proof.placement.share_of_time is None
    assert proof.precision.used == "int8" and set(proof.precision.layers) == {"int8"}
    assert proof.precision.layers["int8"] >= 4
    assert proof.compiled


def test_every_estimate_carries_its_kind(backend: EthosUBackend, model: Path, tmp_path: Path) -> None:
    engine = build(backend, model, target(), tmp_path)
    proof = backend.proof(engine, spec_of(target()))
    assert proof is not None and proof.estimate is not None
    figures = {name: value for name, value in proof.estimate.items() if name not in KINDS}
    assert all(value["kind"] == "estimated" for value in figures.values())
    assert {"latency_ms", "sram_kib", "off_chip_flash_kib", "mac_utilisation_share"} <= figures.keys()
    assert "Ethos_U55_High_End_Embedded" in proof.estimate["note"]
    assert "not checked on silicon" in proof.estimate["note"]
    summary = json.loads((tmp_path / "vela.json").read_text())["summary"]
    assert figures["latency_ms"]["value"] == pytest.approx(1e3 * summary["cycles_total"] / 500e6)
    share = figures["mac_utilisation_share"]["value"]
    assert share == pytest.approx(summary["nn_macs"] / summary["cycles_total"] / 128)


def test_more_multipliers_are_not_slower(backend: EthosUBackend, model: Path, tmp_path: Path) -> None:
    cycles = []
    for name in ("ethos-u55-128", "ethos-u55-256"):
        build(backend, model, packaged_target(name), tmp_path / name)
        cycles.append(json.loads((tmp_path / name / "vela.json").read_text())["summary"]["cycles_npu"])
    assert cycles[1] <= cycles[0]


def test_the_same_model_gives_the_same_files(backend: EthosUBackend, model: Path, tmp_path: Path) -> None:
    folders = [build(backend, model, target(), tmp_path / name).parent for name in ("one", "two")]
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second
    assert set(first) == {ENGINE, INTEGER, "model_vela.c", "model_vela.h", "vela.json"}


def test_the_c_array_holds_the_engine_and_the_labels(
    backend: EthosUBackend, model: Path, tmp_path: Path
) -> None:
    engine = build(backend, model, target(), tmp_path)
    source = (tmp_path / "model_vela.c").read_text()
    array = source[source.index("= {", source.index("edgetl_model[")) + 3 :]
    assert bytes(int(number) for number in re.findall(r"\d+", array)) == engine.read_bytes()
    assert '"blue"' in source and '"green"' in source and '"red"' in source


def test_the_simulator_answers_as_the_float_model_does(
    backend: EthosUBackend, model: Path, tiny: Any, tmp_path: Path, batch: np.ndarray
) -> None:
    build(backend, model, target(), tmp_path)
    simulator = backend.simulator(spec_of(target()))
    session = get_backend(simulator.backend).load(tmp_path / simulator.file, simulator)
    plain = EngineSpec("onnxruntime", "model.onnx", "f32", "f32", "CPUExecutionProvider")
    wanted = get_backend("onnxruntime").load(tiny.model, plain).run(batch)
    found = session.run(batch)
    assert (found.dtype, found.shape) == (np.float32, wanted.shape)
    cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.995


def test_the_engine_itself_is_for_firmware(backend: EthosUBackend, model: Path, tmp_path: Path) -> None:
    engine = build(backend, model, target(), tmp_path)
    with pytest.raises(BackendError, match="TensorFlow Lite Micro"):
        backend.load(engine, spec_of(target()))
    assert "firmware" in backend.obstacle(target())


def test_a_part_in_float_is_refused_by_name(backend: EthosUBackend, quantize: Any, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"conv1|c1|r1") as error:
        backend.build(quantize(["conv1"]), target(), tmp_path)
    assert "float" in str(error.value) and "\n" not in str(error.value)


def test_a_part_that_shall_stay_in_float_is_refused_before_it_is_quantized(
    backend: EthosUBackend, tiny: Any, calibration: Calibration, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="integers only, 'conv1' can't stay in float; empty keep_float"):
        backend.quantize(tiny.model, calibration, recipe, target(), ["conv1"], tmp_path / "int8.onnx")


def test_a_part_in_float_is_listed_where_it_is_allowed(
    backend: EthosUBackend, quantize: Any, tmp_path: Path
) -> None:
    found = target({"allow_cpu": True})
    proof = backend.proof(build(backend, quantize(["conv1"]), found, tmp_path), spec_of(found))
    assert proof is not None and proof.precision is not None and proof.placement is not None
    assert 0 < proof.placement.share_of_nodes < 1
    assert any("Conv2D" in line for line in proof.placement.elsewhere)
    assert proof.precision.layers["f32"] == 1 and proof.precision.used == "int8"
    assert len(proof.layers["findings"]) == len(proof.placement.elsewhere)


def test_more_memory_than_the_chip_has_is_refused(
    backend: EthosUBackend, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(BackendError, match=r"KiB of SRAM .* allows 1;"):
        backend.build(model, target({"sram_kib": 1}), tmp_path)


def test_supports_tells_what_a_real_compilation_takes(
    backend: EthosUBackend, tiny: Any, model: Path, tmp_path: Path
) -> None:
    assert backend.supports(tiny.model, target()) == []
    assert backend.supports(model, target()) == []
    assert backend.supports(tiny.foreign, target()) == []
    odd = onnx.load(tiny.model)
    graph = odd.graph
    graph.node.append(helper.make_node("Sin", [graph.output[0].name], ["waves"], name="sine"))
    graph.output[0].name = "waves"
    onnx.save(odd, tmp_path / "odd.onnx")
    lines = backend.supports(tmp_path / "odd.onnx", target())
    assert len(lines) == 1 and "sine" in lines[0]


def test_an_engine_depends_on_velas_settings(backend: EthosUBackend) -> None:
    parts = backend.build_parts(target())
    assert {"ethos-u-vela", "ai-edge-litert"} <= backend.versions().keys()
    assert backend.build_parts(target({"memory_mode": "Sram_Only"})) != parts
    with pytest.raises(InputError):
        backend.build_parts(target({"accelerator": "ethos-u99-1"}))


def test_absent_vela_is_told_with_the_extra(backend: EthosUBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "ethosu"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ethosu", None)
    found = backend.available()
    assert not found.ok and "pip install 'edgetl[ethosu]'" in str(found.reason)
    with pytest.raises(InputError, match=r"pip install 'edgetl\[ethosu\]'"):
        backend.build_parts(target())
