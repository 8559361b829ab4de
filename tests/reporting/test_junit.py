from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from edgetl.comparing import Check, Compared, Comparison
from edgetl.quantity import Quantity
from edgetl.reporting.junit import comparison_junit

CHANGE = Quantity(1.0512, 1.033, 1.07, 80)
SLOWER = Check(
    "p50 latency",
    "ms",
    Quantity(2.0, 1.9, 2.1, 800),
    Quantity(2.1, 2.0, 2.2, 800),
    CHANGE,
    "regression",
    "x > 1",
)
SAME = Check("size", "bytes", None, None, None, "no change", "as before")
UNSURE = Check("throughput", "per_s", None, None, None, "undecided", 'a "wide" <interval>')
GATE = Check("gate", "text", "failed", "failed", None, "no change", "drop exceeds 1 point")


def parsed(*checks: Check, strict: bool = False, name: str = "rk3588 on a.b") -> ElementTree.Element:
    return ElementTree.fromstring(comparison_junit(Comparison((Compared(name, checks),), 1, (), strict)))


def case(root: ElementTree.Element, name: str) -> ElementTree.Element:
    found = root.find(f"testsuite/testcase[@name='{name}']")
    assert found is not None
    return found


def test_a_regression_is_a_failure_with_its_figures() -> None:
    failure = case(parsed(SLOWER, SAME), "p50 latency").find("failure")
    assert failure is not None
    assert failure.get("message") == "regression: x > 1"
    assert failure.get("type") == "regression"
    assert "2.00" in str(failure.text) and "1.051× (1.033–1.070)" in str(failure.text)


def test_unchanged_passes_and_undecided_is_skipped_unless_strict() -> None:
    root = parsed(SAME, UNSURE)
    assert case(root, "size").find("failure") is case(root, "size").find("skipped") is None
    assert case(root, "throughput").find("skipped") is not None
    assert case(root, "throughput").find("failure") is None
    assert case(parsed(UNSURE, strict=True), "throughput").find("failure") is not None


def test_a_gate_that_new_fails_is_a_failure_even_if_base_failed_it() -> None:
    failure = case(parsed(GATE), "gate").find("failure")
    assert failure is not None and "drop exceeds 1 point" in str(failure.get("message"))


def test_counts_are_those_of_the_cases() -> None:
    root = parsed(SLOWER, SAME, UNSURE, GATE)
    [suite] = root
    for element in (root, suite):
        assert [element.get(name) for name in ("tests", "failures", "errors")] == ["4", "2", "0"]
    assert suite.get("skipped") == "1"


@pytest.mark.parametrize("element", ["testsuites", "testsuite", "testcase"])
def test_what_the_usual_schema_requires(element: str) -> None:
    required = {"testcase": {"classname", "name", "time"}}.get(
        element, {"name", "tests", "failures", "errors", "time"}
    )
    for found in parsed(SLOWER, UNSURE).iter(element):
        assert required <= set(found.keys())
        assert re.fullmatch(r"\d+(\.\d+)?", found.get("time", ""))


def test_children_of_a_case_stand_in_the_order_of_the_schema() -> None:
    for found in parsed(SLOWER, SAME, UNSURE).iter("testcase"):
        assert [child.tag for child in found][-1] == "system-out"
        assert len(found) <= 2


def test_names_cannot_break_the_document_nor_the_tree_of_classes() -> None:
    root = parsed(SAME, name='a.b <"&\x00\x1b\ud800')
    [suite] = root
    assert suite.get("name") == 'a.b <"&\\x00\\x1b\\ud800'
    assert str(case(root, "size").get("classname")).startswith("edgetl.a_b")
