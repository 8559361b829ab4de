"""Peaks are kept by machine and engine, and the vendor's figures stand in for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgetl import peaks, profiles
from edgetl.backends.base import EngineSpec
from edgetl.context import Context
from edgetl.measurement.probe import Probed, ProbeNetwork
from edgetl.quantity import Quantity
from edgetl.roofline.probe_network import write_probe

SPEC = EngineSpec("openvino", "model.xml", "int8", "f32", "CPU")


def probed(tops: float) -> Probed:
    return Probed(
        Quantity(tops, None, None, 100), Quantity(0.1, None, None, 100), Quantity(20.0, 19.0, 21.0, 21)
    )


def test_what_was_probed_last_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context()
    assert peaks.peak_of(context, context.pace, SPEC, None) is None
    for tops in (0.4, 0.5):
        monkeypatch.setattr(peaks, "probe_with", lambda *_, tops=tops: probed(tops))
        _, machine = peaks.probe(context, SPEC)
        assert machine == context.pace
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


def test_the_vendors_word_completes_what_can_not_be_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    target = profiles.target("jetson-orin-nano")
    spec = EngineSpec("tensorrt", "model.engine", "int8", "f16", "GPU")
    sides = []

    def answer(network: ProbeNetwork, *_: object) -> Probed:
        sides.append(network.side)
        return Probed(Quantity(30.0, None, None, 100), None, None)

    monkeypatch.setattr(peaks, "probe_with", answer)
    _, machine = peaks.probe(Context(), spec)
    found = peaks.peak_of(Context(), machine, spec, target)
    assert found is not None and target.facts is not None
    assert (found.tops, found.bandwidth_gbps) == (30.0, target.facts.memory_bandwidth_gbps)
    assert "probed on it" in found.source and target.facts.source in found.source
    assert sides == [224]  # a GPU is not kept busy by what a CPU is


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
