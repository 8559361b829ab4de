"""Which systems on chip a target may name; needs no toolchain."""

from __future__ import annotations

from typing import Any

import pytest

from edgetl import profiles
from edgetl.backends.qnn import QnnBackend
from edgetl.backends.qnn.soc import Soc
from edgetl.errors import InputError
from edgetl.profiles import Target

TARGETS = ("qcs6490", "qcs8550", "sa8775p", "sm8650", "sm8750")


@pytest.mark.parametrize("name", TARGETS)
def test_packaged_targets(name: str) -> None:
    target = profiles.target(name)
    assert (target.backend, target.processor, target.machine) == ("qnn", "npu", "aarch64")
    soc = Soc.of(target)
    assert f"v{soc.arch}" in target.title and soc.provider_options()["htp_arch"] == str(soc.arch)
    obstacle = QnnBackend().obstacle(target)
    assert obstacle and "\n" not in obstacle and name in obstacle


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"soc_model": 57, "htp_arch": 99}, "soc_model 57 has HTP architecture 75, not 99"),
        ({"soc_model": 57, "htp_arch": 73}, "has HTP architecture 75, not 73"),
        ({"soc_model": 999, "htp_arch": 75}, "unknown soc_model 999; known: 30,"),
        ({"soc_model": "SM8650", "htp_arch": 75}, "soc_model must be a positive number"),
        ({"htp_arch": 75}, "soc_model must be a positive number"),
        ({"soc_model": 57, "htp_arch": 75, "vtcm_mb": 0}, "vtcm_mb must be a positive number"),
        ({"soc_model": 57, "htp_arch": 75, "vtcm": 8}, "knows no build setting 'vtcm'"),
    ],
)
def test_what_qnn_would_take_for_something_else(build: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Soc.of(profiles.target("sm8650").model_copy(update={"build": build}))


def test_precisions() -> None:
    old, new = profiles.target("qcs6490"), profiles.target("sm8650")
    assert not Soc.of(old).has_floats and Soc.of(new).has_floats
    assert Soc.of(_as(new, "f16")).arch == 75
    with pytest.raises(InputError, match="architecture 68 computes in integers only"):
        Soc.of(_as(old, "f16"))
    with pytest.raises(InputError, match="int8 or f16, not bf16"):
        Soc.of(_as(new, "bf16"))


def _as(target: Target, precision: str) -> Target:
    return target.model_copy(update={"precision": precision})
