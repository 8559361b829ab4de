"""edgetl targets: the list, and which targets take a model by their own parsers' word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import util
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgetl import profiles
from edgetl.backends.openvino import OpenVinoBackend
from edgetl.backends.probing import form_of
from edgetl.cli.main import main
from edgetl.context import Context
from edgetl.errors import InputError
from edgetl.support import Answer, survey

CPUS = ("x86-vnni", "x86-avx2")


def write(path: Path, *middle: onnx.NodeProto, opset: int = 17, domain: str | None = None) -> Path:
    """Float NCHW without edgetl's prefix: a convolution, ``middle`` from ``c`` to ``m``, and a Relu."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    grid = onnx.numpy_helper.from_array(np.zeros((1, 8, 8, 2), np.float32), "grid")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="conv"), *middle]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Relu", ["m"], ["y"], name="relu")],
        "exotic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, "h", "w"])],
        [weight, grid],
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def sampled(path: Path) -> Path:
    """``GridSample``, which OpenVINO and onnxruntime know."""
    return write(path, helper.make_node("GridSample", ["c", "grid"], ["m"], name="sample"))


def unheard_of(path: Path, count: int = 1) -> Path:
    """Operators of a domain that nobody knows, one after the other."""
    names = ["c", *(f"f{index}" for index in range(count - 1)), "m"]
    chain = [
        helper.make_node("Frobnicate", [before], [after], name=f"frob{index}", domain="acme")
        for index, (before, after) in enumerate(pairwise(names))
    ]
    return write(path, *chain, domain="acme")


def run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["targets", *map(str, arguments)])
    return int(stop.value.code or 0)


def asked(*names: str) -> list[str]:
    return [part for name in names for part in ("--target", name)]


def test_targets_stand_by_processor_and_fit_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert heads[:-1] == ["cpu", "gpu", "npu"] and heads[-1].startswith("simulated:")
    assert max(map(len, lines)) <= 100
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(listed) == profiles.target_names()
    assert run("--json", *asked("intel-npu-4000")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["processor"] == "npu" and row["here"] in ("simulated", "measured")


def test_the_list_is_there_at_once() -> None:
    """Importing OpenVINO, torch or a compiler for it would take longer than all else together."""
    code = (
        "import sys; from edgetl.cli.main import main\n"
        "try: main(['targets'])\n"
        "except SystemExit as stop:\n"
        "    print(stop.code, sorted({'openvino', 'torch', 'onnx', 'nncf'} & set(sys.modules)))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - started < 10
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_model_that_a_parser_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = sampled(tmp_path / "sampled.onnx")
    assert run("--supports", model, *asked(*CPUS)) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "sampled.onnx: opset 17, 1 Conv, 1 GridSample, 1 Relu"
    assert out[1].startswith("edgetl builds no engine of it: the model's output is [1, 4, 8, 8]")
    assert out[-2] == "cpu" and out[-1].split() == ["yes", "openvino", "x86-vnni,", "x86-avx2"]


def test_a_model_is_asked_about_as_it_is_built(tiny: Any, tmp_path: Path) -> None:
    """A weight behind an Identity, as torch's older exporter shares weights, is no obstacle."""
    pytest.importorskip("ai_edge_litert")
    graph = onnx.load(tiny.foreign)
    conv = next(node for node in graph.graph.node if node.op_type == "Conv")
    graph.graph.node.insert(0, onnx.helper.make_node("Identity", [conv.input[1]], ["shared"], name="same"))
    conv.input[1] = "shared"
    onnx.save(graph, tmp_path / "model.onnx")
    found = survey(tmp_path / "model.onnx", [profiles.target("rpi5")], Context())
    assert found.refused is None and [answer.state for answer in found.answers] == ["yes"]


def test_a_model_that_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = unheard_of(tmp_path / "acme.onnx", count=5)
    assert run("--supports", model, *asked(*CPUS)) == 1
    out = capsys.readouterr().out
    assert "acme.Frobnicate node frob0: OpenVINO's frontend has no conversion for it" in out
    assert "frob2" in out and "frob3" not in out and "and 2 more; all of them: --json" in out
    assert run("--supports", model, "--json", *asked(*CPUS)) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["operators"] == {"acme.Frobnicate": 5, "Conv": 1, "Relu": 1}
    assert [answer["state"] for answer in document["answers"]] == ["no", "no"]
    assert all(len(answer["reasons"]) == 5 for answer in document["answers"])


def test_what_cannot_be_asked_is_unknown_and_never_no(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = sampled(tmp_path / "sampled.onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert run("--supports", model, "--json", *asked("x86-vnni", "intel-npu-4000")) == 0
    for answer in json.loads(capsys.readouterr().out)["answers"]:
        assert answer["state"] == "unknown" and "pip install 'edgetl[openvino]'" in answer["reasons"][0]


def test_a_question_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[str] = []
    real = OpenVinoBackend.supports

    def counting(self: OpenVinoBackend, model: Path, target: profiles.Target) -> list[str]:
        asked_for.append(target.name)
        return real(self, model, target)

    monkeypatch.setattr(OpenVinoBackend, "supports", counting)
    names = ["intel-npu-4000", *CPUS, "intel-npu-3720"]
    found = survey(unheard_of(tmp_path / "acme.onnx"), [profiles.target(name) for name in names], Context())
    assert [answer.target for answer in found.answers] == names
    assert len(asked_for) == 3 and {answer.state for answer in found.answers} == {"no"}
    assert found.answers[1] == Answer("x86-vnni", "cpu", "openvino", "no", found.answers[0].reasons)


def test_a_model_is_quantized_once_for_all_targets(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ethosu")
    from edgetl.backends.litert import quantizer

    real, quantized = quantizer.quantize, []

    def counting(model: Path, *rest: Any) -> None:
        quantized.append(model)
        real(model, *rest)

    monkeypatch.setattr(quantizer, "quantize", counting)
    names = ["rpi4", "ethos-u55-128", "ethos-u85-256"]
    found = survey(tiny.foreign, [profiles.target(name) for name in names], Context())
    assert [answer.state for answer in found.answers] == ["yes"] * 3 and len(quantized) == 1


def test_asking_leaves_no_file_behind(tiny: Any, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    command = [sys.executable, "-c", "from edgetl.cli.main import main; main()", "targets", "--supports"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([*command, tiny.foreign, *asked("rpi4")], env=environment, capture_output=True, check=True)
    assert list(tmp_path.glob("edgetl*")) == []


def test_forms_that_are_kept_are_few_and_not_older_than_their_models(tiny: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    paths = []
    for number in range(6):
        graph = onnx.load(tiny.foreign)
        graph.graph.name = f"network {number}"
        onnx.save(graph, model)
        paths.append(form_of(model).path)
        assert onnx.load(form_of(model).path).graph.name == graph.graph.name
    assert [path.exists() for path in paths] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("name", ["tensorrt-rtx", "onnxruntime"])
def test_other_parsers_name_what_they_refuse(name: str, tmp_path: Path) -> None:
    module = {"tensorrt-rtx": "tensorrt_rtx"}.get(name, name)
    if util.find_spec(module) is None:
        pytest.skip(f"{name} is not installed")
    target = profiles.target({"tensorrt-rtx": "rtx-40", "onnxruntime": "x86-onnxruntime"}[name])
    taken, refused = (
        survey(model, [target], Context()).answers[0]
        for model in (sampled(tmp_path / "a.onnx"), unheard_of(tmp_path / "b.onnx", count=2))
    )
    assert (taken.state, taken.reasons) == ("yes", ())
    assert refused.state == "no" and len(refused.reasons) == 2
    assert "frob0" in refused.reasons[0] and "frob1" in refused.reasons[1]


def test_no_model_is_an_input_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="not an ONNX model"):
        survey(tmp_path / "model.onnx", [profiles.target("x86-vnni")], Context())
    assert run("--supports", tmp_path / "gone.onnx") == 2
    assert "does not exist" in capsys.readouterr().err


def test_an_unknown_target_is_an_input_error(tmp_path: Path) -> None:
    assert run("--supports", sampled(tmp_path / "a.onnx"), "--target", "intel-npu-9999") == 2
