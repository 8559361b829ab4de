"""What every backend must do (``edgetl.conformance``), and what is known of two of them more exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgetl.conformance import CHECKS, Case, Check, Outcome, choose_target, outcome
from edgetl.conformance.case import answers_of

BACKENDS = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")
CPU = ("onnxruntime", "openvino")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    made: dict[str, Case] = {}

    def case(name: str) -> Case:
        if name not in made:
            made[name] = Case(choose_target(name), tmp_path_factory.mktemp(name))
        return made[name]

    return case


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", BACKENDS)
def test_conforms(name: str, check: Check, cases: Callable[[str], Case]) -> None:
    case = cases(name)
    found = outcome(check, case)
    if found.status == "not applicable":
        pytest.skip(str(found.detail))
    assert found.ok, found.detail


@pytest.fixture(params=CPU)
def case(request: pytest.FixtureRequest, cases: Callable[[str], Case]) -> Case:
    return cases(request.param)


def found_by(case: Case, name: str) -> Outcome:
    return outcome(next(check for check in CHECKS if check.name == name), case)


def test_nothing_else_is_left_out(case: Case) -> None:
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
    found = {check.name for check in CHECKS if outcome(check, case).status == "not applicable"}
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


def test_onnxruntime_is_closer_to_float(cases: Callable[[str], Case]) -> None:
    """NNCF takes the mean of the images' extremes, and so clips the loudest of few; onnxruntime does not."""
    case = cases("onnxruntime")
    found = answers_of(case.session("int8"), case.images)
    assert np.corrcoef(found.ravel(), case.exact.ravel())[0, 1] > 0.999


def test_the_same_bytes_again(case: Case) -> None:
    assert found_by(case, "determinism: quantizing again gives the same").detail == "the same bytes"


def test_every_file_is_needed(case: Case) -> None:
    found = found_by(case, "errors: a truncated engine is an error, or answers as before")
    assert found.status == "passed" and found.detail is None


def test_only_openvino_has_no_entropy(case: Case) -> None:
    refused = found_by(case, "quantize: recipe entropy, auto: works or says why not").detail or ""
    assert ("entropy" in refused) == (case.name == "openvino")
