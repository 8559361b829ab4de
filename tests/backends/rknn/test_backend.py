"""What the backend says where there is neither toolchain nor board, and on a board that is pretended."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl import profiles
from edgetl.backends.base import EngineSpec
from edgetl.backends.rknn import RknnBackend
from edgetl.backends.rknn.board import BoardSession, obstacle_to
from edgetl.backends.rknn.compiled import ENGINE, Layer, write_report
from edgetl.conformance.network import Network
from edgetl.engines import engine_spec
from edgetl.errors import BackendError, InputError

SOCS = ("rk3588", "rk3576", "rk3568", "rk3566", "rk3562", "rv1126b", "rv1106", "rv1103")


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_TOOLCHAINS", str(tmp_path / "toolchains"))


@pytest.mark.usefixtures("nothing_installed")
def test_without_the_toolchain(tiny: Network, tmp_path: Path) -> None:
    backend = RknnBackend()
    found = backend.available()
    assert not found.ok
    assert found.reason == ("RKNN-Toolkit2 is not installed; install it with: edgetl toolchain install rknn")
    assert backend.versions() == {}
    with pytest.raises(BackendError, match="edgetl toolchain install rknn"):
        backend.build(tiny.model, profiles.target("rk3588"), tmp_path)


@pytest.mark.parametrize("name", SOCS)
def test_targets_are_npus_simulated_here(name: str) -> None:
    target = profiles.target(name)
    assert (target.backend, target.processor, target.device) == ("rknn", "npu", name)
    backend = RknnBackend()
    assert name in (backend.obstacle(target) or "")
    spec = backend.simulator(engine_spec(target, ENGINE))
    assert (spec.file, spec.device, spec.options) == ("model.onnx", "simulator", {"soc": name})
    assert backend.simulator(spec).options == {"soc": name}, "a simulator is its own"


def test_unknown_settings_and_devices_are_one_line(tiny: Network, tmp_path: Path) -> None:
    target = profiles.target("rk3588")
    for change, said in (
        ({"build": {"cores": 3}}, r"rknn knows no setting 'cores' in \[build\]"),
        ({"options": {"core_mask": 7}}, r"rknn knows no setting 'core_mask' in \[options\]"),
        ({"device": "rk3399"}, "rknn knows no device 'rk3399'; known: rk3588"),
    ):
        with pytest.raises(InputError, match=said):
            RknnBackend().build(tiny.model, target.model_copy(update=change), tmp_path)


def test_no_engine_passes_for_float32(tiny: Network, tmp_path: Path) -> None:
    target = profiles.target("rk3588").model_copy(update={"precision": "f32"})
    with pytest.raises(BackendError, match="compute in int8 and f16, not in f32"):
        RknnBackend().build(tiny.model, target, tmp_path)


@pytest.mark.parametrize(
    ("compatible", "soc", "said"),
    [
        ("", "rk3588", "there is no Rockchip NPU here; the engine is for rk3588"),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", "rk3588", "no Rockchip NPU"),
        ("radxa,rock-3a\0rockchip,rk3568\0", "rk3588", "this board's SoC is rk3568"),
        ("acme,board\0rockchip,rv1106b\0", "rv1106", "this board's SoC is rv1106b"),
        ("radxa,rock-5b\0rockchip,rk3588\0", "rk3588", "pip install rknn-toolkit-lite2"),
        ("xunlong,orangepi-5\0rockchip,rk3588s\0", "rk3588", "pip install rknn-toolkit-lite2"),
    ],
)
def test_device_tree_tells_the_board(tmp_path: Path, compatible: str, soc: str, said: str) -> None:
    file = tmp_path / "compatible"
    file.write_text(compatible)
    assert said in (obstacle_to(soc, file) or "")


class Lite:
    """The part of ``rknnlite.api.RKNNLite`` of version 2.5.0 that is used, with its signatures."""

    statuses: tuple[int, int] = (0, 0)

    def load_rknn(self, path: str, key_path: str | None = None) -> int:
        assert Path(path).is_file() and key_path is None
        return self.statuses[0]

    def init_runtime(
        self,
        target: str | None = None,
        device_id: str | None = None,
        async_mode: bool = False,
        core_mask: int = 0,
    ) -> int:
        assert target is None, "None is the NPU inside"
        return self.statuses[1]

    def inference(
        self,
        inputs: list[np.ndarray],
        data_type: str | None = None,
        data_format: list[str] | None = None,
        inputs_pass_through: list[int] | None = None,
        get_frame_id: bool = False,
        reuse_outputs: bool = False,
    ) -> list[np.ndarray] | None:
        assert data_format == ["nhwc"] and inputs[0].dtype == np.uint8
        brightness = float(inputs[0].mean())
        return None if brightness == 0 else [np.full((1, 3), brightness, np.float16)]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, EngineSpec]:
    package, api = types.ModuleType("rknnlite"), types.ModuleType("rknnlite.api")
    named: Any = api
    named.RKNNLite = Lite
    monkeypatch.setitem(sys.modules, "rknnlite", package)
    monkeypatch.setitem(sys.modules, "rknnlite.api", api)
    (tmp_path / ENGINE).write_bytes(b"RKNN")
    layers = [Layer("Conv:c", "Conv", "int8", "NPU", 5), Layer("Det:d", "Det", "f16", "CPU", 0)]
    write_report(tmp_path, layers, [1, 4, 4, 3], "2.5.0")
    return tmp_path / ENGINE, EngineSpec("rknn", ENGINE, "int8", "f16", "rk3588")


def test_session_on_a_board(board: tuple[Path, EngineSpec]) -> None:
    session = BoardSession(*board)
    images = np.full((1, 4, 4, 3), 7, np.uint8)
    logits = session.run(images)
    assert logits.dtype == np.float32 and logits.tolist() == [[7.0, 7.0, 7.0]]
    assert session.placement().elsewhere == ("Det:d",)
    assert session.precision().used == "int8"
    with pytest.raises(BackendError, match="fixed batch of 1, got 2"):
        session.run(np.concatenate([images, images]))
    with pytest.raises(BackendError, match="gave no answer"):
        session.run(images * 0)


@pytest.mark.parametrize(("statuses", "verb"), [((-1, 0), "read"), ((0, -1), "start")])
def test_return_codes_are_believed(
    board: tuple[Path, EngineSpec], monkeypatch: pytest.MonkeyPatch, statuses: tuple[int, int], verb: str
) -> None:
    monkeypatch.setattr(Lite, "statuses", statuses)
    with pytest.raises(BackendError, match=rf"cannot {verb} model\.rknn \(status -1\)"):
        BoardSession(*board)
