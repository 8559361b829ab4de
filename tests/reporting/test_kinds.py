"""No number of an engine that did not run on its device stands anywhere without its kind."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from edgetl.reporting.html import page
from edgetl.reporting.table import render_summary
from tests.reporting.conftest import Document, q

TARGET = "npu-9000"
DIGITS = re.compile(r"\d")


def quantities(value: Any) -> list[Document]:
    """Every quantity in a document."""
    if isinstance(value, dict):
        own = [value] if {"value", "kind"} <= value.keys() else []
        return own + [item for inner in value.values() for item in quantities(inner)]
    return [item for inner in value for item in quantities(inner)] if isinstance(value, list) else []


@pytest.fixture
def document(make_results: Callable[..., Document]) -> Document:
    """The NPU's engine alone: accuracy from a simulator, speed from its compiler, nothing measured."""
    results = make_results()
    engine = results["engines"][0]
    for quantity in quantities(engine):
        quantity["kind"] = "simulated"
    estimate = {name: q(value, n=1, kind="estimated") for name, value in ESTIMATES.items()}
    engine |= {
        "target": TARGET,
        "latency_ms": None,
        "latency_samples_ms": [],
        "throughput_per_s": None,
        "speedup": None,
        "standing": "there is no NPU here",
        "estimate": {"source": "Compiler 5", "note": "its own model of the hardware", **estimate},
        "error_analysis": {
            "source": "Compiler 5",
            "note": "its own analysis",
            "twin_cosine": q(0.99, kind="simulated"),
            "layers": [
                {"name": "a", "op": "Conv"} | {x: q(0.9, kind="simulated") for x in ("single", "entire")}
            ],
        },
    }
    return {**results, "engines": [engine]}


ESTIMATES = {"latency_ms": 6.87, "inferences_per_s": 145.6, "sram_kib": 387.0, "npu_cycles": 3435007.0}


class Cells(HTMLParser):
    """Text and markup of table cells, by section and row heading."""

    def __init__(self) -> None:
        super().__init__()
        self.section, self.heading, self.tag = "", "", ""
        self.cells: list[tuple[str, str, str, str]] = []
        self._text = self._class = ""
        self._kind = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag == "section":
            self.section = known.get("id") or ""
        if tag in ("td", "th"):
            self.tag, self._text, self._class, self._kind = tag, "", known.get("class") or "", False
        if tag == "abbr" and known.get("class") == "kind":
            self._kind = True

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "th":
            self.heading = self._text
        if tag == "td":
            kind = "kind" if self._kind else ""
            self.cells.append((self.section, self.heading, f"{self._class} {kind}", self._text))


def test_terminal_table(document: Document) -> None:
    stream = io.StringIO()
    render_summary(document, Console(file=stream, width=120))
    text = stream.getvalue()
    [line] = [line for line in text.splitlines() if line.strip().startswith(TARGET)]
    columns = re.split(r"\s{2,}", line.strip())
    figures = [column for column in columns[2:] if DIGITS.search(column)]
    marked, [size] = figures[:-1], figures[-1:]
    assert len(marked) == 3  # accuracy, drop, the compiler's latency
    assert all("†" in figure or "‡" in figure for figure in marked)
    assert "6.87‡" in marked and "†" not in size + "‡"[1:]
    assert "† simulated, not measured" in text and "‡ estimated, not measured" in text


def test_html_cells(document: Document) -> None:
    reader = Cells()
    reader.feed(page(document, None))
    row = [cell for cell in reader.cells if cell[0] == "summary" and cell[1].startswith(TARGET)]
    figures = [(classes, text) for _, _, classes, text in row if "num" in classes and DIGITS.search(text)]
    without = [text for classes, text in figures if "kind" not in classes]
    assert len(figures) == 4 and without == ["4.9"]  # the size in MB, which is what it is
    told = [cell for cell in reader.cells if cell[0] == "estimates" and DIGITS.search(cell[3])]
    assert len(told) == len(ESTIMATES)
    assert all("kind" in classes and "estimated" in text for _, _, classes, text in told)
    errors = [cell for cell in reader.cells if cell[0] == "errors" and DIGITS.search(cell[3])]
    assert len(errors) == 3 and all("kind" in classes for _, _, classes, _ in errors)
    of_classes = [
        classes for where, _, classes, text in reader.cells if where == "classes" and "%" not in text
    ]
    engine = [
        of_classes[start + 5 : start + 8] for start in range(0, len(of_classes), 8)
    ]  # counts, FP32, NPU
    assert len(engine) == 10 and all("kind" in classes for cells in engine for classes in cells)


def test_prose(document: Document) -> None:
    text = re.sub(r"<[^>]+>", " ", page(document, None).partition("</main>")[0].partition("<main>")[2])
    assert f"There is no latency of {TARGET}." in text
    assert f"Some figures of {TARGET} are simulated or estimated." in text
    assert f"{TARGET}: expected latency is estimated." in text


def test_an_estimate_is_one_whatever_the_document_calls_it(document: Document) -> None:
    document["engines"][0]["estimate"]["latency_ms"]["kind"] = "measured"
    stream = io.StringIO()
    render_summary(document, Console(file=stream, width=120))
    assert "6.87‡" in stream.getvalue()


def test_what_else_was_timed(make_bench: Callable[..., Document]) -> None:
    """Each quantity of the new sections stands in a cell of its own, with its kind."""
    results = make_bench(("orin",), kind="simulated")
    engine = results["engines"][0]
    shown = {
        "device": ("accuracy", "device"),
        "scenarios": ("throughput_per_s", "multi_stream", "end_to_end", "cold_start"),
        "endurance": ("sustained",),
        "energy": ("energy",),
        "reconciliation": ("reconciliation",),
    }
    single = [engine["latency_ms"][name] for name in ("p50", "p90", "p99")]
    for quantity in [*quantities([engine[name] for names in shown.values() for name in names]), *single]:
        quantity["kind"] = "simulated"
    reader = Cells()
    reader.feed(page(results, None))
    for name, fields in shown.items():
        expected = len(quantities([engine[field] for field in fields])) + (3 if name == "scenarios" else 0)
        marked = [cell for cell in reader.cells if cell[0] == name and "kind" in cell[2]]
        assert len(marked) == expected, name
        assert all("simulated" in text for _, _, _, text in marked)
