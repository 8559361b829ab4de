from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from edgetl.reporting import render_summary, summary_table

Document = dict[str, Any]


def q(value: float, low: float | None = None, high: float | None = None, kind: str = "measured") -> Document:
    return {"value": value, "low": low, "high": high, "n": 413, "kind": kind}


def made(target: str, **more: Any) -> Document:
    return {
        "target": target,
        "backend": "openvino",
        "precision": "int8",
        "precision_detail": {"asked": "int8", "executed": {"f32": 18, "int8": 50}},
        "size_bytes": 4_912_000,
        "accuracy": q(0.969, 0.947, 0.982),
        "drop_points": q(-0.24, -1.0, 0.5),
        "latency_ms": {"p50": q(2.41), "p90": q(2.55), "p99": q(13.1)},
        "throughput_per_s": q(788.4),
        "gate": "passed",
        "error": None,
    } | more


@pytest.fixture
def results() -> Document:
    reference = made("", precision="f32", precision_detail=None, drop_points=None)
    return {
        "schema": "edgetl.results/1",
        "fp32": {"accuracy": q(0.973), "engines": [reference, reference | {"backend": "onnxruntime"}]},
        "skipped": [{"path": "a", "reason": "truncated"}, {"path": "b", "reason": "empty"}],
        "engines": [
            made("x86-vnni"),
            made("few", latency_ms={"p50": q(2.41), "p90": q(2.55), "p99": None}, gate="undecided"),
            made(
                "hailo-8",
                latency_ms=None,
                throughput_per_s=None,
                gate="none",
                accuracy=q(0.95, kind="simulated"),
            ),
            made(
                "guess", latency_ms={"p50": q(1.1, kind="estimated"), "p90": None, "p99": None}, gate="failed"
            ),
            {"target": "orin", "precision": "int8", "error": "TensorRT is [red]missing[/red]\x1b[31m"},
        ],
    }


def lines(results: Document, width: int = 100) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO())
    render_summary(results, console)
    return console.export_text().splitlines()


def line_of(printed: list[str], name: str) -> str:
    return next(line for line in printed if line.strip().startswith(name))


def test_one_line_an_engine_within_100_columns(results: Document) -> None:
    printed = lines(results)
    assert max(map(len, printed)) <= 100
    order = [
        next(i for i, line in enumerate(printed) if line.strip().startswith(name))
        for name in ("FP32 openvino", "FP32 onnxruntime", "x86-vnni", "few", "hailo-8", "guess", "orin")
    ]
    assert order == sorted(order)
    row = line_of(printed, "x86-vnni")
    for part in ("int8 50, f32 18", "96.9 ±1.8", "−0.24", "2.41/2.55/13.1", "788", "4.9", "passed"):
        assert part in row


def test_unmeasured_is_words_and_a_small_n_a_star(results: Document) -> None:
    printed = lines(results)
    assert "not measured" in line_of(printed, "hailo-8")
    assert "2.41/2.55/*" in line_of(printed, "few")
    assert any(line.strip() == "* n too small" for line in printed)


def test_kinds_have_marks_and_footnotes(results: Document) -> None:
    printed = lines(results)
    assert "95.0†" in line_of(printed, "hailo-8")
    assert "1.10/*/*‡" in line_of(printed, "guess")
    assert "†" not in line_of(printed, "x86-vnni")
    assert any("† simulated" in line for line in printed)
    assert any("‡ estimated" in line for line in printed)
    assert any("2 images were skipped" in line for line in printed)


def test_errors_are_footnotes_and_inert(results: Document) -> None:
    printed = lines(results)
    assert "error" in line_of(printed, "orin")
    assert any("orin: TensorRT is [red]missing[/red]\\x1b[31m" in line for line in printed)


def test_no_footnote_without_need(results: Document) -> None:
    plain = {"engines": [made("x86-vnni", accuracy=q(0.9))]}
    printed = "\n".join(lines(plain))
    assert not any(mark in printed for mark in "†‡*±")
    assert "skipped" not in printed


def test_80_columns_keep_every_gate(results: Document) -> None:
    printed = "\n".join(lines(results, 80))
    for gate in ("passed", "undecided", "failed", "no gate"):
        assert gate in printed


def test_empty_document_is_an_empty_table() -> None:
    assert summary_table({}).row_count == 0


def test_a_build_plan_is_no_engine(results: Document) -> None:
    board = made(
        "jetson-orin-nano",
        state="plan",
        precision_detail=None,
        size_bytes=3_700_000,
        latency_ms=None,
        throughput_per_s=None,
        accuracy=q(0.95, 0.93, 0.97, kind="simulated"),
    )
    row = line_of(lines(results | {"engines": [board]}), "jetson-orin-nano")
    assert "int8 (plan)" in row and "95.0†" in row and "not measured" in row
    assert row.split()[-2:] == ["–", "passed"] and "3.7" not in row
    built = line_of(lines(results | {"engines": [board | {"state": "built"}]}), "jetson-orin-nano")
    assert "(plan)" not in built and "3.7" in built
