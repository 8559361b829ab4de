from __future__ import annotations

from typing import Any

from edgetl.reporting.verdict import gaps, verdict

Document = dict[str, Any]


def q(value: float, low: float | None = None, high: float | None = None, kind: str = "measured") -> Document:
    return {"value": value, "low": low, "high": high, "n": 413, "kind": kind}


def engine(target: str, p50: Document | None, gate: str = "passed", **more: Any) -> Document:
    return {
        "target": target,
        "backend": "openvino",
        "precision": "int8",
        "accuracy": q(0.969, 0.947, 0.982),
        "drop_points": q(0.48, -0.6, 1.5),
        "latency_ms": {"p50": p50, "p90": None, "p99": None},
        "speedup": q(2.79),
        "gate": gate,
    } | more


def document(*engines: Document) -> Document:
    return {"fp32": {"accuracy": q(0.973, 0.953, 0.985)}, "engines": list(engines)}


def test_names_the_fastest_that_passed_with_its_numbers() -> None:
    words = verdict(
        document(engine("slow", q(9.0)), engine("fast", q(2.41, 2.38, 2.45)), engine("bad", q(1.0), "failed"))
    )
    words = words.replace("\u00a0", " ")
    assert "The fastest engine that passed its gate is fast (openvino, int8)." in words
    assert "96.9 % (94.7–98.2) on 413 images, against 97.3 % (95.3–98.5) for FP32" in words
    assert "drop of 0.48 points cannot be told from none" in words
    assert "2.41 ms (2.38–2.45), 2.79× FP32's speed" in words
    assert "bad failed its gate." in words


def test_measured_goes_before_estimated_and_passed_before_undecided() -> None:
    guessed, real = engine("guessed", q(1.0, kind="estimated")), engine("real", q(3.0))
    assert "passed its gate is real" in verdict(document(guessed, real))
    assert "guessed are simulated or estimated" in verdict(document(guessed, real))
    assert "passed its gate is real" in verdict(document(engine("open", q(0.5), "undecided"), real))


def test_a_real_drop_and_a_gain_are_called_so() -> None:
    assert "drop of 3.00" in verdict(document(engine("a", q(1.0), drop_points=q(3.0, 1.0, 5.0))))
    assert "larger than chance explains" in verdict(
        document(engine("a", q(1.0), drop_points=q(3.0, 1.0, 5.0)))
    )
    assert "gain of 0.24" in verdict(document(engine("a", q(1.0), drop_points=q(-0.24, -1.0, 0.5))))


def test_no_winner_is_said() -> None:
    assert "No engine could be made." in verdict(document(engine("a", None, error="no driver")))
    assert "none can be called the best" in verdict(
        document(engine("a", None, "none"), engine("b", None, "none"))
    )
    assert "left after the gates" in verdict(document(engine("a", q(1.0), "failed")))
    assert verdict({}) == "No engine is in this document."


def test_gaps_name_what_is_missing() -> None:
    results = document(
        engine("a", None), engine("b", q(2.0, kind="simulated")), engine("c", None, error="no driver")
    )
    lines = gaps(results | {"dataset": {"held_out": "val", "test": 0}})
    assert any("no separate test part" in line for line in lines)
    assert any(line.startswith("a: latency, throughput") for line in lines)
    assert "b: p99 latency, for which 413 samples are too few." in lines
    assert "b: p50 latency is simulated." in lines
    assert "c: nothing, it could not be made (no driver)." in lines


def test_a_build_plan_says_how_it_becomes_an_engine() -> None:
    board = engine("jetson-orin-nano", None, "none", state="plan", agreement=q(0.99, kind="simulated"))
    lines = gaps(document(board | {"accuracy": q(0.95, kind="simulated")}))
    where = "the engine is built on the device with: edgetl build BUNDLE"
    assert f"jetson-orin-nano: latency, throughput, placement: {where}" in lines
    assert "jetson-orin-nano: accuracy and agreement are simulated." in lines
    assert not any("cold start" in line for line in lines)
    lines = gaps(document(board | {"accuracy": None}))
    assert f"jetson-orin-nano: accuracy, latency, throughput, placement: {where}" in lines
