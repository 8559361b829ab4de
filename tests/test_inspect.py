"""``edgetl inspect`` on bundles and files that were really made here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgetl
from edgetl.backends import get_backend
from edgetl.backends.base import Calibration, EngineSpec, LayerTime, Placement, Precision
from edgetl.bundle.write import Content, write_bundle
from edgetl.cli.main import main
from edgetl.contract import Contract
from edgetl.errors import BackendError, BundleError, InputError
from edgetl.profiles import Recipe, Target

LABELS = ("blue", "green", "red")
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line: exit status, and what it printed."""

    def call(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(["inspect", *map(str, arguments)])
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out + printed.err

    return call


@pytest.fixture(scope="module")
def bundled(contract: Contract, batch: np.ndarray) -> Callable[..., Path]:
    """Write a bundle of an engine's folder; the golden output plays no part here."""

    def write(spec: EngineSpec, engine: Path, portable: Path, out: Path) -> Path:
        content = Content(
            target="tiny",
            spec=spec,
            engine=engine,
            portable=portable,
            contract=contract,
            labels=LABELS,
            precision={"asked": spec.precision, "used": spec.precision},
            device="none",
            versions={"edgetl": "0.1.0"},
            provenance={},
            golden_input=batch[:1],
            golden_output=np.zeros((1, len(LABELS)), np.float32),
            measurements={},
            trained_on=[],
        )
        return write_bundle(content, out)

    return write


def target(**changes: Any) -> Target:
    base: dict[str, Any] = {
        "name": "tiny",
        "title": "for tests",
        "backend": "tensorrt-rtx",
        "precision": "int8",
        "machine": "x86_64",
        "compute_capabilities": ("8.6",),
        "device": "cuda:0",
    }
    return Target(**{**base, **changes})


@pytest.fixture(scope="module")
def qdq(
    tiny: Any, calibration: Calibration, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("qdq") / "model.onnx"
    get_backend("tensorrt-rtx").quantize(tiny.model, calibration, recipe, target(), [], out)
    return out


@pytest.fixture(scope="module")
def rtx(qdq: Path, bundled: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for RTX 30, built without a GPU."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (extra tensorrt-rtx)")
    folder = tmp_path_factory.mktemp("rtx")
    (folder / "built").mkdir()
    file = get_backend("tensorrt-rtx").build(qdq, target(), folder / "built")
    spec = EngineSpec("tensorrt-rtx", file, "int8", "f32", "cuda:0")
    return bundled(spec, folder / "built", qdq, folder / "bundle")


@pytest.fixture(scope="module")
def plan(qdq: Path, bundled: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "made").mkdir()
    board = target(backend="tensorrt", machine="aarch64", compute_capabilities=("8.7",))
    file = get_backend("tensorrt").plan(qdq, board, folder / "made")
    spec = EngineSpec("tensorrt", file, "int8", "f16", "cuda:0")
    return bundled(spec, folder / "made", qdq, folder / "bundle")


def engine_of(bundle: Path) -> Path:
    found = json.loads((bundle / "manifest.json").read_text())["engine"]["file"]
    return bundle / found


def test_bundle_for_an_absent_gpu(rtx: Path, run: Run) -> None:
    facts = edgetl.inspect(rtx)
    layers = facts["layers"]
    assert layers["counted"] == "ONNX nodes" and set(layers["arithmetic"]) == {"int8"}
    multiplying = [row for row in layers["rows"] if row["multiplies"]]
    assert len(multiplying) == layers["arithmetic"]["int8"] == 4
    assert {row["precision"] for row in multiplying} == {"int8"}
    assert facts["precision"]["used"] == "int8" and facts["placement"]["share_of_time"] is None
    assert facts["header"]["module"] == "tensorrt-rtx" and facts["damage"] is None
    assert facts["build"]["key"]["compute_capabilities"] == ["8.6"] and "demands" not in facts["build"]
    [note] = facts["notes"]
    assert note.startswith("not loaded here: ") and note.endswith("as its builder reported it")
    status, text = run(rtx)
    assert status == 0
    assert "products   4 int8 (counted by ONNX nodes)" in text
    assert "engine of TensorRT for RTX 1." in text
    assert max(len(line) for line in text.split("file ")[0].splitlines()) <= 100


def test_json_is_what_the_function_returns(rtx: Path, run: Run) -> None:
    status, text = run(rtx, "--json", "--all")
    assert status == 0
    assert json.loads(text) == edgetl.inspect(rtx, all_layers=True)


def test_all_layers_on_request(rtx: Path) -> None:
    every = edgetl.inspect(engine_of(rtx), all_layers=True)["layers"]
    assert len(every["rows"]) == every["total"]
    some = [row["layer"] for row in edgetl.inspect(engine_of(rtx))["layers"]["rows"]]
    order = [row["layer"] for row in every["rows"]]
    assert some == [name for name in order if name in some]


def test_times_of_a_loaded_engine_are_shown(rtx: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU here: a double stands for the loaded engine."""
    first = edgetl.inspect(rtx)["layers"]["rows"][0]["layer"]

    class Loaded:
        def precision(self) -> Precision:
            return Precision("int8", "int8", "f32", {"int8": 4})

        def placement(self) -> Placement:
            return Placement("NVIDIA GPU", 1.0, 1.0)

        def layer_times(self) -> tuple[LayerTime, ...]:
            return (LayerTime(first, (), "Conv", "NVIDIA GPU", "int8", 0.0125),)

    monkeypatch.setattr("edgetl.inspection.open_session", lambda bundle, manifest: Loaded())
    facts = edgetl.inspect(rtx)
    assert [row["milliseconds"] for row in facts["layers"]["rows"]][:2] == [0.0125, None]
    assert facts["notes"] == []
    _, text = run(rtx)
    assert text.split(" ms")[1].count("–") == len(facts["layers"]["rows"]) - 1
    assert " 0.013" in text or " 0.012" in text
    assert "placement  NVIDIA GPU, 100% of nodes" in text


def test_raw_engine_without_its_sidecars(rtx: Path, tmp_path: Path, run: Run) -> None:
    alone = shutil.copy(engine_of(rtx), tmp_path / "other.engine")
    facts = edgetl.inspect(alone)
    assert facts["layers"] is None and facts["build"] is None and facts["bundle"] is None
    assert "layers are not known" in facts["notes"][0]
    whole = alone.read_bytes()
    alone.write_bytes(whole[:5000])
    status, text = run(alone)
    assert status == 1
    assert f"damaged    it has 5000 bytes and its header says {len(whole)}: truncated" in text


def test_build_plan(plan: Path, run: Run) -> None:
    for path in (plan, engine_of(plan)):
        facts = edgetl.inspect(path)
        assert facts["plan"]["settings"]["batch"] == 1 and "demands" not in facts["plan"]
        assert facts["layers"] is None and facts["precision"] is None and facts["notes"] == []
        status, text = run(path)
        assert status == 0
        assert "build plan: the engine is built on its device" in text
        assert "settings   batch 1, compute_capabilities 8.7" in text
        assert "command    trtexec --onnx=model.onnx" in text
        assert "check      Q/DQ dialect of TensorRT" in text


@pytest.mark.parametrize(("backend", "what"), [("openvino", "OpenVINO IR"), ("onnxruntime", "ONNX model")])
def test_bundles_of_cpu_backends_are_read_back(
    kits: Any, bundled: Callable[..., Path], tmp_path: Path, run: Run, backend: str, what: str
) -> None:
    kit = kits(backend)
    bundle = bundled(kit.spec, kit.int8_engine.parent, kit.int8_model, tmp_path / "bundle")
    facts = edgetl.inspect(bundle)
    assert facts["what"] == what and facts["layers"] is None and facts["header"] is None
    assert facts["precision"]["used"] == "int8"
    assert facts["placement"]["share_of_nodes"] == 1.0
    assert facts["bundle"]["backend"] == backend and facts["bundle"]["classes"] == 3
    status, text = run(bundle)
    assert status == 0
    assert "precision  int8 (layers: " in text and "placement  CPU" in text


def test_raw_models_are_named(kits: Any) -> None:
    assert edgetl.inspect(kits("openvino").int8_engine)["what"] == "OpenVINO IR"
    assert edgetl.inspect(kits("onnxruntime").int8_engine)["what"] == "ONNX model"


def test_damaged_sidecars_and_altered_bundles_are_refused(rtx: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(rtx, tmp_path / "bundle"))
    sidecar = engine_of(bundle).parent / "layers.json"
    for damage in ("{", "[]", '{"schema": "edgetl.layers/1"}'):
        sidecar.write_text(damage)
        with pytest.raises(BackendError, match="damaged"):
            edgetl.inspect(engine_of(bundle))
        with pytest.raises(BundleError, match="altered"):
            edgetl.inspect(bundle)


def test_other_files_are_refused(tmp_path: Path, run: Run) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    with pytest.raises(InputError, match="no engine that edgetl knows"):
        edgetl.inspect(other)
    with pytest.raises(InputError, match="is not a bundle"):
        edgetl.inspect(tmp_path)
    status, text = run(tmp_path / "absent")
    assert status == 2 and text.endswith("absent does not exist\n")
