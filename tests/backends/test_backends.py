"""What is particular to one backend, and what all of them share."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from edgetl.backends import _third_party, get_backend
from edgetl.backends.base import Calibration, majority, matching_nodes
from edgetl.conformance.network import Network
from edgetl.errors import BackendError, InputError
from edgetl.profiles import Recipe


def test_entry_points_are_read_once_and_for_strangers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real, groups = metadata.entry_points, []

    def counting(**selection: str) -> Any:
        groups.append(selection["group"])
        return real(**selection)

    monkeypatch.setattr(metadata, "entry_points", counting)
    _third_party.cache_clear()
    assert get_backend("onnxruntime").name == "onnxruntime" and groups == []
    for _ in range(3):
        with pytest.raises(InputError, match=r"unknown backend 'nope'; known: .*onnxruntime"):
            get_backend("nope")
    assert groups == ["edgetl.backends"]


def test_openvino_asked_for_f32_does_not_run_bf16(kits: Any) -> None:
    engine, spec = kits("openvino").with_file("f32")
    backend = get_backend("openvino")
    found = backend.load(engine, spec).precision()
    assert found.float_part == "f32" and set(found.layers) == {"f32"}
    with_bf16 = backend.load(engine, replace(spec, float_precision="bf16")).precision()
    assert with_bf16.float_part in ("bf16", "f32")  # f32 on a machine without bf16


def test_onnxruntime_does_not_fall_back_silently(kits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's library is there but not its device: onnxruntime itself goes on with the CPU."""
    import onnxruntime

    known = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" in known:
        pytest.skip("this machine has the provider")
    kit = kits("onnxruntime")
    spec = replace(kit.spec, device="CUDAExecutionProvider")
    with pytest.raises(BackendError, match="has no CUDAExecutionProvider"):
        get_backend("onnxruntime").load(kit.int8_engine, spec)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", *known])
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(BackendError, match="fell back to CPUExecutionProvider"),
    ):
        get_backend("onnxruntime").load(kit.int8_engine, spec)


def test_unknown_backend() -> None:
    with pytest.raises(InputError, match="known: ethosu, litert, onnxruntime, openvino"):
        get_backend("nope")


def test_matching_nodes() -> None:
    names = ["conv0", "conv1", "head"]
    assert matching_nodes(names, ["conv.", "head", "conv0"]) == names
    with pytest.raises(InputError, match="matches no node"):
        matching_nodes(names, ["conv"])
    with pytest.raises(InputError, match="regular expression"):
        matching_nodes(names, ["("])


def test_majority() -> None:
    assert majority({}) == "unknown" and majority({"f32": 1, "int8": 3}) == "int8"


def test_a_node_kept_in_float_runs_in_float(
    tiny: Network, calibration: Calibration, recipe: Recipe, kits: Any, tmp_path: Path
) -> None:
    """Between quantized nodes too, where onnxruntime would quantize it by itself."""
    kit, backend = kits("onnxruntime"), get_backend("onnxruntime")
    backend.quantize(tiny.model, calibration, recipe, kit.target, ["conv1"], tmp_path / "kept.onnx")
    assert dict(backend.load(tmp_path / "kept.onnx", kit.spec).precision().layers) == {"f32": 1, "int8": 3}
