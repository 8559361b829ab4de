"""What the builder is told, and the command line that says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgetl import profiles
from edgetl.backends.tensorrt.settings import BuildSettings, trtexec
from edgetl.errors import InputError
from edgetl.profiles import Target


def test_from_a_target_and_back(rtx_target: Callable[..., Target]) -> None:
    target = rtx_target(batch=4, build={"workspace_mb": 512, "gpu_fallback": True})
    settings = BuildSettings.of(target)
    assert settings.batch == 4 and settings.workspace_mb == 512 and settings.gpu_fallback
    assert BuildSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    "build",
    [
        *({"workspce_mb": 1}, {"workspace_mb": "much"}, {"gpu_fallback": 1}, {"max_tactics": True}),
        *({"workspace_mb": -5}, {"optimization_level": 9}, {"max_tactics": -3}, {"dla_core": 0}),
    ],
)
def test_wrong_settings_are_refused(rtx_target: Callable[..., Target], build: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(build))):
        BuildSettings.of(rtx_target(build=build))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compute_capabilities": ()}, "names no compute_capabilities"),
        ({"options": {"speed": "fast"}}, "no option 'speed'"),
        ({"backend": "tensorrt", "build": {"dla_core": 2}}, "dla_core must be 0 to 1"),
        (
            {"backend": "tensorrt", "build": {"dla_core": 0}, "precision": "f32", "float_precision": "f32"},
            "INT8 and f16 only",
        ),
    ],
)
def test_targets_that_make_no_sense(
    rtx_target: Callable[..., Target], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        BuildSettings.of(rtx_target(**changes))


def test_every_target_of_ours_has_good_settings() -> None:
    targets = [profiles.target(name) for name in profiles.target_names()]
    ours = [target for target in targets if target.backend.startswith("tensorrt")]
    assert len(ours) >= 11
    for target in ours:
        assert BuildSettings.of(target).compute_capabilities == target.compute_capabilities


def test_command_line() -> None:
    full = BuildSettings(1, ("8.7",), 1024, 3, 5, 0, True, True)
    said = trtexec(full, "tensorrt", "model.onnx", "model.engine")
    assert said.startswith("trtexec --onnx=model.onnx --saveEngine=model.engine ")
    for flag in (
        "--stronglyTyped",
        "--memPoolSize=workspace:1024M",
        "--builderOptimizationLevel=3",
        "--maxTactics=5",
        "--useDLACore=0",
        "--allowGPUFallback",
        "--timingCacheFile=timing.cache",
    ):
        assert flag in said.split()
    assert "--fp16" not in said and "--int8" not in said  # gone in 11: types come from the model
    rtx = trtexec(BuildSettings(1, ("8.6", "12.0")), "tensorrt-rtx", "a b.onnx", "model.engine")
    assert rtx.startswith("tensorrt_rtx '--onnx=a b.onnx'") and "--computeCapabilities=86,120" in rtx
