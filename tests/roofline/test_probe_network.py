"""The probe network in the engines that are here: what it computes, and in which precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec, Session
from edgetl.measurement import probe as measured
from edgetl.measurement.engine import Images, Runnable
from edgetl.measurement.probe import Probed, ProbeNetwork, probe_with
from edgetl.peaks import as_peak
from edgetl.quantity import Quantity
from edgetl.roofline.cost import layer_costs
from edgetl.roofline.probe_network import write_probe

ENGINES = [("openvino", "CPU"), ("onnxruntime", "CPUExecutionProvider")]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> ProbeNetwork:
    return write_probe(tmp_path_factory.mktemp("probe"))


def loaded(backend: str, device: str, model: Path, precision: str) -> Session:
    pytest.importorskip(backend)
    return get_backend(backend).load(model, EngineSpec(backend, model.name, precision, "f32", device))


def image(side: int) -> Images:
    return np.random.default_rng(1).integers(0, 256, (1, side, side, 3), np.uint8)


@pytest.mark.parametrize(("backend", "device"), ENGINES)
def test_engines_compute_it_in_integers_and_its_twin_in_floats_alike(
    backend: str, device: str, network: ProbeNetwork
) -> None:
    integer = loaded(backend, device, network.int8, "int8")
    floating = loaded(backend, device, network.floating, "f32")
    assert integer.precision().used == "int8"
    assert floating.precision().used == "f32"
    answers = [session.run(image(network.side)) for session in (integer, floating)]
    assert answers[0].shape == (1, 256)
    assert np.corrcoef(answers[0][0], answers[1][0])[0, 1] > 0.99


def test_its_arithmetic_is_all_but_convolutions_in_eight_bits(network: ProbeNetwork) -> None:
    integer, floating = layer_costs(network.int8), layer_costs(network.floating)
    assert sum(c.macs for c in integer) == sum(c.macs for c in floating) == network.macs
    wide = [cost for cost in integer if cost.macs / cost.bytes > 100]
    assert sum(cost.macs for cost in wide) / network.macs > 0.999
    assert {cost.bits for cost in wide} == {8}
    assert {cost.bits for cost in floating if cost.macs} == {32}


def test_the_same_bytes_every_time_and_any_size(network: ProbeNetwork, tmp_path: Path) -> None:
    again = write_probe(tmp_path)
    assert again.int8.read_bytes() == network.int8.read_bytes()
    assert again.floating.read_bytes() == network.floating.read_bytes()
    larger = write_probe(tmp_path, side=56)
    assert larger.macs == 4 * network.macs
    assert sum(cost.macs for cost in layer_costs(larger.int8)) == larger.macs


def peaks_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, device: str, float_precision: str
) -> tuple[Probed, list[int]]:
    """A probe without its timings: what is timed, and with how many multiply-accumulates."""
    timed: list[int] = []

    def ops(session: Runnable, macs: int, picture: Images) -> Quantity:
        session.run(picture[np.newaxis])
        timed.append(macs)
        return Quantity(0.5, 0.4, 0.6, 100)

    monkeypatch.setattr(measured, "peak_ops", ops)
    monkeypatch.setattr(measured, "memory_bandwidth", lambda threads: Quantity(20.0, 19.0, 21.0, 21))
    monkeypatch.setattr(
        measured, "cache_bandwidths", lambda threads: [(1 << 20, Quantity(90.0, None, None, 21))]
    )
    return probe_with(write_probe(folder, side=7), "onnxruntime", device, float_precision), timed


def test_a_probe_has_both_peaks_and_the_bandwidths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: ProbeNetwork
) -> None:
    pytest.importorskip("onnxruntime")
    probed, timed = peaks_of(tmp_path, monkeypatch, "CPUExecutionProvider", "f32")
    assert timed == [network.macs // 16] * 2  # 7x7 pixels instead of 28x28
    peak = as_peak(probed, "probed")
    assert (peak.tops, peak.float_tops, peak.bandwidth_gbps) == (0.5, 0.5, 20.0)
    assert (peak.kind, peak.source, peak.caches) == ("measured", "probed", ((1 << 20, 90.0),))


def test_a_precision_that_the_engine_does_not_use_has_no_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    probed, timed = peaks_of(tmp_path, monkeypatch, "CPUExecutionProvider", "bf16")
    assert len(timed) == 1
    assert probed.tops is not None
    assert probed.float_tops is None
    assert as_peak(probed, "probed").float_tops is None
