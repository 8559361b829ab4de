"""The bound by hand: numbers small enough to check in the head."""

from __future__ import annotations

import json

import pytest

from edgetl.roofline.bound import Peak, roofline
from edgetl.roofline.cost import LayerCost

DEVICE = Peak(1.0, 0.25, 10.0, "made up", "estimated")
"""1 ms takes 0.5 G INT8 MACs, 0.125 G float MACs, or 10 MB."""


def layer(name: str, macs: int, size: int, *, bits: int = 8, weights: int = 0) -> LayerCost:
    return LayerCost(name, "Conv" if macs else "Add", (name, f"{name}_relu"), macs, size, bits, weights)


def time(name: str, ms: float, *nodes: str) -> dict[str, object]:
    return {"name": name, "nodes": list(nodes), "ms": ms}


COSTS = (
    layer("a", 500_000_000, 1_000_000),  # 1 ms of arithmetic, 0.1 ms of memory
    layer("b", 50_000_000, 2_000_000),  # 0.1, 0.2
    layer("c", 125_000_000, 1_000_000, bits=32),  # 1.0, 0.1
    layer("d", 0, 3_000_000),  # 0.3 of memory
)


def test_bound_is_the_larger_of_arithmetic_and_memory_layer_by_layer() -> None:
    result = roofline(COSTS, DEVICE, [], 5.0)
    assert [entry["bound"] for entry in result["layers"]] == ["compute", "memory", "compute", "memory"]
    assert [entry["bound_ms"] for entry in result["layers"]] == pytest.approx([1.0, 0.2, 1.0, 0.3])
    assert result["bound_ms"] == {"value": pytest.approx(2.5), **UNSURE}
    assert result["share_of_device"] == {"value": pytest.approx(0.5), **UNSURE}
    assert (result["macs"], result["bytes"]) == (675_000_000, 7_000_000)


UNSURE = {"low": None, "high": None, "n": 1, "kind": "estimated"}


def test_without_layer_times_nothing_is_said_of_layers() -> None:
    result = roofline(COSTS, DEVICE, [], 5.0)
    assert all(entry["ms"] is None and entry["lost_ms"] is None for entry in result["layers"])
    assert result["worst"] == []
    assert result["unmatched_ms"] is None


def test_layer_times_are_scaled_to_the_latency_without_a_profiler() -> None:
    profiled = [
        time("A", 4.0, "a", "a_relu"),
        time("B", 1.0, "b"),
        time("C", 2.0, "c_relu"),
        time("D", 2.0, "d"),
        time("reorder", 1.0),
    ]
    result = roofline(COSTS, DEVICE, profiled, 5.0)
    assert [entry["ms"] for entry in result["layers"]] == pytest.approx([2.0, 0.5, 1.0, 1.0])
    assert [entry["lost_ms"] for entry in result["layers"]] == pytest.approx([1.0, 0.3, 0.0, 0.7])
    assert result["worst"] == ["a", "d", "b"]
    assert result["unmatched_ms"] == pytest.approx(0.5)


def test_two_kernels_of_one_layer_and_two_layers_of_one_kernel_add_up() -> None:
    split = [time("A1", 1.0, "a"), time("A2", 2.0, "a_relu")]
    fused = [time("BC", 3.0, "b", "c"), time("CD", 4.0, "c_relu", "d")]
    result = roofline(COSTS, DEVICE, [*split, *fused], 10.0)
    assert [entry["name"] for entry in result["layers"]] == ["a", "c"]
    assert [entry["ms"] for entry in result["layers"]] == pytest.approx([3.0, 7.0])
    assert result["layers"][1]["bound_ms"] == pytest.approx(1.5)
    assert result["layers"][1]["macs"] == 175_000_000


def test_a_layer_the_engine_does_not_report_is_noted() -> None:
    result = roofline(COSTS, DEVICE, [time("A", 4.0, "a")], 5.0)
    assert result["layers"][1]["ms"] is None
    assert "not among the layers that the engine reports: b and 1 more" in result["notes"]


def test_weights_and_activations_come_from_the_smallest_memory_that_holds_them() -> None:
    cached = Peak(1.0, 0.25, 10.0, "made up", "measured", ((1_000_000, 100.0), (4_000_000, 40.0)))
    small = layer("s", 0, 400_000, weights=200_000)
    assert roofline([small], cached, [], 1.0)["bound_ms"]["value"] == pytest.approx(0.4 / 100)
    # beside 3 MB of other weights, its own are pushed out to the larger cache, its activations are not
    beside = layer("t", 0, 3_000_000, weights=3_000_000)
    both = roofline([small, beside], cached, [], 1.0)
    assert both["layers"][0]["bound_ms"] == pytest.approx(0.2 / 40 + 0.2 / 100)
    assert both["layers"][1]["bound_ms"] == pytest.approx(3 / 40)
    # 9 MB fit nowhere
    large = layer("u", 0, 9_000_000, weights=9_000_000)
    assert roofline([large], cached, [], 1.0)["bound_ms"]["value"] == pytest.approx(0.9)


def test_a_disturbed_cache_measurement_does_not_make_near_data_slower_than_far_data() -> None:
    disturbed = Peak(1.0, 0.25, 10.0, "made up", "measured", ((1_000_000, 3.0), (4_000_000, 40.0)))
    assert disturbed.bandwidth(500_000) == 40.0
    assert disturbed.bandwidth(5_000_000) == 10.0


def test_a_beaten_bound_says_why() -> None:
    result = roofline(COSTS, DEVICE, [], 2.0)
    assert result["share_of_device"]["value"] == pytest.approx(1.25)
    assert any("the bound is beaten (125% of it)" in note for note in result["notes"])
    assert not any("beaten" in note for note in roofline(COSTS, DEVICE, [], 5.0)["notes"])


def test_an_unknown_peak_gives_no_share() -> None:
    result = roofline(COSTS, Peak(None, 0.25, 10.0, "", "estimated"), [time("A", 4.0, "a")], 5.0)
    assert result["bound_ms"] is None
    assert result["share_of_device"] is None
    assert result["layers"][0]["bound_ms"] is None
    assert result["layers"][0]["lost_ms"] is None
    assert result["layers"][2]["bound_ms"] == pytest.approx(1.0)
    assert any("peak is not known" in note for note in result["notes"])


def test_what_is_not_known_of_the_rest_makes_a_lower_limit_and_is_noted() -> None:
    result = roofline(COSTS, Peak(1.0, None, None, "", "estimated"), [], 5.0)
    assert [entry["bound_ms"] for entry in result["layers"]] == pytest.approx([1.0, 0.1, 0.25, 0.0])
    assert any("bandwidth is not known" in note for note in result["notes"])
    assert any("float peak is not known" in note for note in result["notes"])


def test_the_result_is_json() -> None:
    result = roofline(COSTS, Peak(1.0, 0.25, 10.0, "s", "measured", ((1, 2.0),)), [time("A", 1.0, "a")], 5.0)
    assert json.loads(json.dumps(result)) == result
    assert result["peak"] == {
        "tops": 1.0,
        "float_tops": 0.25,
        "bandwidth_gbps": 10.0,
        "source": "s",
        "kind": "measured",
        "caches": [{"bytes": 1, "bandwidth_gbps": 2.0}],
    }
