"""What every backend must do (``edgetl.conformance``), and what is known of two of them more exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from edgetl.conformance import CHECKS, Case, Outcome, choose_target, outcome
from edgetl.conformance.case import answers_of

CPU = ("onnxruntime", "openvino")
BACKENDS = (*CPU, "tensorrt", "tensorrt-rtx", "litert", "qnn", "ethosu")
RKNN = pytest.param("rknn", None, id="rknn", marks=pytest.mark.toolchain("rknn"))
INTEL_NPU = "intel-npu-4000"


@dataclass
class Tried:
    """A case, and what its checks found, each run once."""

    case: Case
    told: dict[str, Outcome] = field(default_factory=dict)

    def ask(self, name: str) -> Outcome:
        if name not in self.told:
            self.told[name] = outcome(next(check for check in CHECKS if check.name == name), self.case)
        return self.told[name]


@pytest.fixture(scope="module")
def try_out(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tried]:
    made: dict[tuple[str, str | None], Tried] = {}

    def tried(name: str, target: str | None = None) -> Tried:
        if (name, target) not in made:
            made[name, target] = Tried(Case(choose_target(name, target), tmp_path_factory.mktemp(name)))
        return made[name, target]

    return tried


@pytest.mark.parametrize("check", [check.name for check in CHECKS])
@pytest.mark.parametrize(
    ("name", "target"),
    [*(pytest.param(name, None, id=name) for name in BACKENDS), RKNN, ("openvino", INTEL_NPU)],
)
def test_conforms(name: str, target: str | None, check: str, try_out: Callable[..., Tried]) -> None:
    tried = try_out(name, target)
    found = tried.case.backend.available()
    if not found.ok and tried.case.target.made == "here":
        pytest.skip(str(found.reason))
    told = tried.ask(check)
    if told.status == "not applicable":
        pytest.skip(str(told.detail))
    assert told.ok, told.detail


@pytest.fixture(params=CPU)
def tried(request: pytest.FixtureRequest, try_out: Callable[..., Tried]) -> Tried:
    return try_out(request.param)


@pytest.fixture
def case(tried: Tried) -> Case:
    return tried.case


def test_nothing_else_is_left_out(tried: Tried) -> None:
    """Where engines load, only what is about those that don't is not applicable."""
    left_out = {
        "toolchain: what can't be loaded here has a reason of one line",
        "simulator: answers for what can't be loaded here, and never as measured",
        "estimate: every number of an estimate has the kind estimated",
        "estimate: what the builder reports can be written as JSON",
        "supports: the tiny network has nothing that is refused",
        "supports: a made-up operator is named",
        "errors: garbage is nothing that a simulator runs",
    }
    found = {check.name for check in CHECKS if tried.ask(check.name).status == "not applicable"}
    assert found <= left_out


def test_available(case: Case) -> None:
    found = case.backend.available()
    assert found.ok and case.target.device in found.devices and case.name in found.versions


def test_any_number_of_images_at_once(case: Case) -> None:
    session = case.build(case.model("int8", batch=None)).open()
    single = answers_of(session, case.images)
    for n in (1, 5, 12):
        assert np.allclose(session.run(case.images[:n]), single[:n], atol=1e-4)


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_precision_and_placement(case: Case, precision: Any) -> None:
    session = case.session(precision)
    told = session.precision()
    assert told.asked == told.used == precision and told.layers[precision] >= 3
    placed = session.placement()
    assert placed.device == case.target.device and placed.elsewhere == ()
    assert placed.share_of_nodes == placed.share_of_time == 1.0


def test_onnxruntime_is_closer_to_float(try_out: Callable[..., Tried]) -> None:
    """NNCF takes the mean of the images' extremes, and so clips the loudest of few; onnxruntime does not."""
    case = try_out("onnxruntime").case
    found = answers_of(case.session("int8"), case.images)
    assert np.corrcoef(found.ravel(), case.exact.ravel())[0, 1] > 0.999


def test_the_same_bytes_again(tried: Tried) -> None:
    assert tried.ask("determinism: quantizing again gives the same").detail == "the same bytes"


def test_every_file_is_needed(tried: Tried) -> None:
    found = tried.ask("errors: a truncated engine is an error, or answers as before")
    assert found.status == "passed" and found.detail is None


def test_only_openvino_has_no_entropy(tried: Tried) -> None:
    refused = tried.ask("quantize: recipe entropy, auto: works or says why not").detail or ""
    assert ("entropy" in refused) == (tried.case.name == "openvino")
