"""Peaks are kept by machine and engine, and the vendor's figures stand in for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgetl import peaks, profiles
from edgetl.backends.base import EngineSpec
from edgetl.context import Context
from edgetl.measurement.probe import Probed
from edgetl.quantity import Quantity
from edgetl.roofline.probe_network import write_probe

SPEC = EngineSpec("openvino", "model.xml", "int8", "f32", "CPU")


def probed(tops: float) -> Probed:
    return Probed(
        Quantity(tops, None, None, 100), Quantity(0.1, None, None, 100), Quantity(20.0, 19.0, 21.0, 21)
    )


def test_what_was_probed_last_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context()
    assert peaks.peak_of(context, context.machine, SPEC, None) is None
    for tops in (0.4, 0.5):
        monkeypatch.setattr(peaks, "probe_with", lambda *_, tops=tops: probed(tops))
        _, machine = peaks.probe(context, SPEC)
        assert machine == context.machine
    found = peaks.peak_of(Context(), machine, SPEC, None)
    assert found is not None and found.kind == "measured"
    assert (found.tops, found.float_tops, found.bandwidth_gbps) == (0.5, 0.1, 20.0)
    assert found.source.startswith("probed on it 20")
    assert peaks.peak_of(context, "another", SPEC, None) is None


def test_the_vendors_word_stands_in() -> None:
    target = profiles.target("jetson-orin-nano")
    found = peaks.peak_of(Context(), "a board", SPEC, target)
    assert found is not None and found.kind == "estimated"
    assert target.facts is not None
    assert (found.tops, found.source) == (target.facts.peak_int8_tops, target.facts.source)


def test_an_engines_entry_gets_its_roofline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_probe(tmp_path, 7).int8
    context = Context()
    section: dict[str, Any] = {"latency_ms": {"p50": {"value": 1.0}}, "layer_times": []}
    without = peaks.with_roofline(context, section, SPEC, None, model)
    assert "edgetl device probe" in without["roofline"]["reason"]
    assert peaks.with_roofline(context, {"latency_ms": None}, SPEC, None, model)["roofline"] is None
    monkeypatch.setattr(peaks, "probe_with", lambda *_: probed(0.5))
    peaks.probe(context, SPEC)
    found = peaks.with_roofline(context, section, SPEC, None, model)["roofline"]
    assert found["share_of_device"]["kind"] == "estimated"
    assert 0 < found["share_of_device"]["value"] < 1
    there = peaks.with_roofline(context, {**section, "device": {"machine": "other"}}, SPEC, None, model)
    assert "reason" in there["roofline"]
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no onnx")
    assert "reason" in peaks.with_roofline(context, section, SPEC, None, broken)["roofline"]
