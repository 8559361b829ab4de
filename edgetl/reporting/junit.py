"""A comparison as JUnit XML: a test suite an engine, a test case a check."""

from __future__ import annotations

from xml.etree import ElementTree

from edgetl.comparing import Check, Compared, Comparison
from edgetl.reporting.compared import change, figure
from edgetl.reporting.markup import clean


def comparison_junit(comparison: Comparison) -> str:
    """The document, with its XML declaration.

    A check that fails is a failure. What is undecided or not comparable is skipped, or a failure too if the
    comparison is strict.
    """
    root = ElementTree.Element("testsuites", name="edgetl compare")
    suites = [_suite(engine, comparison.strict) for engine in comparison.engines]
    root.extend(suites)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.set("time", "0")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(engine: Compared, strict: bool) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=clean(engine.name))
    suite.extend([_case(engine, check, strict) for check in engine.checks])
    suite.set("tests", str(len(engine.checks)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("time", "0")
    return suite


def _case(engine: Compared, check: Check, strict: bool) -> ElementTree.Element:
    # Dots separate packages where reports are shown, and are no part of a target's name.
    classname = f"edgetl.{clean(engine.name).replace('.', '_')}"
    case = ElementTree.Element("testcase", classname=classname, name=check.name, time="0")
    outcome = _outcome(check, strict)
    message = clean(f"{check.verdict}: {check.why}")
    if outcome == "failure":
        failure = ElementTree.SubElement(case, "failure", message=message, type=check.verdict)
        failure.text = _figures(check)
    elif outcome == "skipped":
        ElementTree.SubElement(case, "skipped", message=message)
    ElementTree.SubElement(case, "system-out").text = f"{message}\n{_figures(check)}"
    return case


def _outcome(check: Check, strict: bool) -> str:
    if check.fails:
        return "failure"
    if check.verdict in ("undecided", "not comparable"):
        return "failure" if strict else "skipped"
    return "passed"


def _figures(check: Check) -> str:
    told = f"base {figure(check.base, check)}, new {figure(check.new, check)}"
    return f"{told}, change {change(check)}" if check.change else told
