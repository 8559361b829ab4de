"""What the compiler printed, read from logs of RKNN-Toolkit2 2.5.0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgetl.backends.base import EngineSpec
from edgetl.backends.rknn.analysis import read_analysis
from edgetl.backends.rknn.compiled import (
    ENGINE,
    LAYERS,
    placement_of,
    precision_of,
    read_layers,
    read_proof,
    write_report,
)
from edgetl.errors import BackendError

DATA = Path(__file__).with_name("data")
SPEC = EngineSpec("rknn", ENGINE, "int8", "f16", "rk3588")


def printed(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def test_hybrid_layers_are_told_apart() -> None:
    layers = read_layers(printed("hybrid_rk3588.log"))
    floats = [layer.name for layer in layers if layer.precision == "f16" and layer.op == "Conv"]
    assert floats == ["Conv:node_Conv_777", "Conv:node_Conv_863", "Conv:edgetl/head#2"]
    found = precision_of(layers, SPEC)
    # this excerpt holds three float convolutions and two others
    assert (found.used, found.float_part) == ("f16", "f16")
    assert found.layers == {"int8": 5, "f16": 4}, "conversions are no layers"


def test_placement_names_what_the_cpu_does() -> None:
    layers = read_layers(printed("hybrid_rk3588.log"))
    found = placement_of(layers)
    assert found.elsewhere == ("Reshape:logits_mm_tp_rs",)
    assert found.share_of_nodes == pytest.approx(1 - 1 / len(layers))
    assert found.share_of_time is None


def test_a_column_more_and_a_name_less() -> None:
    sparse = read_layers(printed("sparse_rk3576.log"))
    assert sparse[0].cycles == 1229312
    nameless = read_layers(printed("cpu_rk3588.log"))
    assert [(layer.name, layer.target) for layer in nameless] == [("Conv", "NPU"), ("Det:n_Det", "CPU")]


def test_without_a_table_there_is_no_proof() -> None:
    with pytest.raises(BackendError, match="no table of layers"):
        read_layers("E RKNN: [12:27:06.710] Unkown op target: 0\n")


def test_proof_keeps_estimates_apart(tmp_path: Path) -> None:
    layers = read_layers(printed("hybrid_rk3588.log"))
    write_report(tmp_path, layers, [1, 224, 224, 3], "2.5.0")
    proof = read_proof(tmp_path / ENGINE, SPEC)
    assert proof.estimate is not None
    cycles = sum(layer.cycles for layer in layers)
    assert proof.estimate["latency_ms"] == {
        "value": pytest.approx(cycles / 1e6),
        "low": None,
        "high": None,
        "n": 1,
        "kind": "estimated",
    }
    assert "uncalibrated" in proof.estimate["note"]
    assert proof.estimate["note"].endswith("no cycles for Reshape, Transpose, exDataConvert")
    assert "Conv:node_Conv_777" in proof.layers["float"]
    json.dumps(proof.layers)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layers": [{}]}'])
def test_damaged_report_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / LAYERS).write_text(text)
    with pytest.raises(BackendError, match=r"layers\.json beside model\.rknn is missing or damaged"):
        read_proof(tmp_path / ENGINE, SPEC)


def test_analysis_is_simulated_and_in_order() -> None:
    nodes = {"getitem": "conv_stem", "getitem_6": "blocks.0.conv_pwl"}
    found = read_analysis(printed("error_analysis.txt"), 0.98, "2.5.0", 8, nodes)
    names = [(layer["op"], layer["name"]) for layer in found["layers"]]
    assert names[1:4] == [
        ("exDataConvert", "image_int8"),
        ("Conv + Clip", "conv_stem"),
        ("Conv + Clip", "getitem_3"),
    ]
    worst = next(layer for layer in found["layers"] if layer["name"] == "blocks.0.conv_pwl")
    assert worst["entire"]["value"] == 0.99779 and worst["single"]["value"] == 0.99971
    kinds = {layer[which]["kind"] for layer in found["layers"] for which in ("entire", "single")}
    assert kinds == {"simulated"}
    assert found["twin_cosine"]["n"] == 8


def test_colours_do_not_hide_rows() -> None:
    row = "[Conv] getitem_24                 0.97727 | \x1b[1;33m186.32355\x1b[0m 0.99982 | 16.59879      \n"
    assert len(read_analysis(row, 1.0, "2.5.0", 1, {})["layers"]) == 1
    with pytest.raises(BackendError, match="no table of errors"):
        read_analysis("", 1.0, "2.5.0", 1, {})
