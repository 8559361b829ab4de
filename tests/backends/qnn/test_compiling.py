"""Contexts of the real compiler: whole, for what was asked, the same bytes, and what it refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgetl import profiles
from edgetl.backends.base import Calibration
from edgetl.backends.qnn import QnnBackend
from edgetl.backends.qnn.compiler import compile_context, refused_nodes, toolchain
from edgetl.backends.qnn.quantizer import quantize
from edgetl.backends.qnn.soc import _ARCHITECTURES, Soc
from edgetl.errors import BackendError, InputError
from edgetl.profiles import Recipe, Target

Compile = Callable[[Path, Target], Any]


@pytest.mark.parametrize("name", ["qcs6490", "qcs8550", "sm8750"])
def test_all_of_it_is_on_the_htp_in_integers(
    name: str, qnn: QnnBackend, quantized: Path, compile_for: Compile
) -> None:
    made = compile_for(quantized, profiles.target(name))
    proof = qnn.proof(made.engine, made.spec)
    assert proof is not None and proof.precision and proof.placement and proof.estimate
    assert proof.precision.used == "int8" and proof.precision.float_part == "none"
    assert proof.placement.share_of_nodes == 1 and proof.placement.share_of_time is None
    build = made.target.build
    assert (proof.layers["soc_model"], proof.layers["htp_arch"]) == (build["soc_model"], build["htp_arch"])
    assert proof.estimate["vtcm_mb"]["value"] == build.get("vtcm_mb", 4)
    assert {value["kind"] for value in proof.estimate.values() if isinstance(value, dict)} == {"estimated"}
    names = {path.name for path in made.engine.parent.iterdir()}
    assert names == {"model_ctx.onnx", "model_ctx_qnn.bin", "qnn.json"}
    (node,) = onnx.load(made.engine, load_external_data=False).graph.node
    assert node.op_type == "EPContext"


def test_architectures_are_those_of_the_sdk(qnn: QnnBackend, compiled: Any, tmp_path: Path) -> None:
    """A context that was compiled for the number alone says the architecture that the table says."""
    found = {}
    with toolchain() as worker:
        for soc in _ARCHITECTURES:
            folder = tmp_path / str(soc)
            folder.mkdir()
            request = {"model": str(compiled.portable), "context": str(folder / "c.onnx"), "batch": 1}
            provider = {"soc_model": str(soc)}
            worker.ask("build", timeout=60, notes=str(folder), provider=provider, **request)
            blob = worker.ask("metadata", timeout=60, engine=str(folder / "c_qnn.bin"))
            assert blob["soc_model"] == soc
            found[soc] = blob["htp_arch"]
    assert found == _ARCHITECTURES


def test_the_same_model_gives_the_same_bytes(compiled: Any, quantized: Path, compile_for: Compile) -> None:
    again = compile_for(quantized, compiled.target)
    for path in compiled.engine.parent.iterdir():
        assert path.read_bytes() == (again.engine.parent / path.name).read_bytes()


def test_a_refused_node_is_named(strange: Path, qnn: QnnBackend, compile_for: Compile, logs: Path) -> None:
    target = profiles.target("sm8650")
    with pytest.raises(BackendError, match=r"HTP 75 does not take all of .*strange \(Hardmax\)") as caught:
        compile_for(strange, target)
    assert "\n" not in str(caught.value)
    assert [line.partition(":")[0] for line in qnn.supports(strange, target) or []] == ["strange (Hardmax)"]
    assert list(logs.glob("*.log")) == []


def test_an_operator_that_nobody_knows_is_named(qnn: QnnBackend, tiny: Any, tmp_path: Path) -> None:
    model, path = onnx.load(tiny.foreign), tmp_path / "acme.onnx"
    last = model.graph.output[0]
    for name, before, after in (("frob", last.name, "f"), ("brof", "f", "g")):
        node = onnx.helper.make_node("Frobnicate", [before], [after], name=name, domain="acme")
        model.graph.node.append(node)
    last.name = "g"
    model.opset_import.append(onnx.helper.make_opsetid("acme", 1))
    onnx.save(model, path)
    said = "onnxruntime knows no such operator"
    assert qnn.supports(path, profiles.target("sm8650")) == [
        f"acme.Frobnicate node {name}: {said}" for name in ("frob", "brof")
    ]


def test_a_log_is_kept_where_an_error_names_it(qnn: QnnBackend, tmp_path: Path, logs: Path) -> None:
    with toolchain() as worker, pytest.raises(BackendError, match=f"log: {worker.log}"):
        os.kill(worker.pid, signal.SIGKILL)
        worker.ask("refused", timeout=60, model="none", provider={}, batch=1)
    assert list(logs.glob("*.log")) == [worker.log]
    worker.log.unlink()
    garbage, soc = tmp_path / "garbage.onnx", Soc(57, 75)
    garbage.write_bytes(b"garbage" * 9)
    with pytest.raises(BackendError) as told:
        compile_context(garbage, soc, 1, tmp_path)
    (kept,) = logs.glob("*.log")
    assert str(told.value).endswith(f"; log: {kept}")
    kept.unlink()
    with pytest.raises(BackendError, match=r"^qnn: "):
        refused_nodes(garbage, soc, 1)
    assert list(logs.glob("*.log")) == []


def test_supports_a_float_model_in_the_form_it_gets(qnn: QnnBackend, tiny: Any) -> None:
    assert qnn.supports(tiny.model, profiles.target("qcs6490")) == []


def test_supports_quantizes_a_model_once(
    qnn: QnnBackend, tiny: Any, monkeypatch: pytest.MonkeyPatch, logs: Path
) -> None:
    quantized = []

    def counting(model: Path, *rest: Any) -> None:
        quantized.append(model)
        quantize(model, *rest)

    monkeypatch.setattr("edgetl.backends.qnn.support.quantize", counting)
    for name in ("qcs6490", "sm8650"):
        assert qnn.supports(tiny.foreign, profiles.target(name)) == []
    assert len(quantized) == 1 and list(logs.glob("*.log")) == []


def test_floats_on_an_htp_without_them(qnn: QnnBackend, tiny: Any, compile_for: Compile) -> None:
    with pytest.raises(BackendError, match=r"HTP 68 does not take all of .*\(Sub\)"):
        compile_for(tiny.model, profiles.target("qcs6490"))


def test_floats_on_an_htp_with_them(
    tiny: Any, batch: np.ndarray, qnn: QnnBackend, compile_for: Compile
) -> None:
    import onnxruntime

    target = profiles.target("sm8650").model_copy(update={"precision": "f16", "float_precision": "f16"})
    made = compile_for(tiny.model, target)
    proof = qnn.proof(made.engine, made.spec)
    assert proof is not None and proof.precision is not None and set(proof.precision.layers) == {"f16"}
    exact = onnxruntime.InferenceSession(str(tiny.model)).run(None, {"images": batch[:3]})[0]
    session = made.emulate()
    found = np.concatenate([session.run(image[None]) for image in batch[:3]])
    assert np.abs(found - exact).max() < 0.01 * np.abs(exact).max()


def test_nodes_kept_in_float(
    qnn: QnnBackend, tiny: Any, calibration: Calibration, recipe: Recipe, tmp_path: Path, compile_for: Compile
) -> None:
    out = tmp_path / "q.onnx"
    with pytest.raises(InputError, match="integers only, so 'conv1' can't stay in float"):
        qnn.quantize(tiny.model, calibration, recipe, profiles.target("qcs6490"), ["conv1"], out)
    target = profiles.target("sm8650")
    qnn.quantize(tiny.model, calibration, recipe, target, ["conv1"], out)
    made = compile_for(out, target)
    proof = qnn.proof(made.engine, made.spec)
    assert proof is not None and proof.precision is not None
    assert proof.precision.layers["f16"] == 1 and proof.precision.used == "int8"


def test_a_cast_of_pixels_is_not_let_through(qnn: QnnBackend, tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="casts uint8 to float"):
        qnn.build(tiny.model, profiles.target("sm8650"), tmp_path)
