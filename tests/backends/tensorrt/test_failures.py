"""Every way TensorRT is known to give up becomes one line with the cause and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgetl.backends.base import Backend, EngineSpec
from edgetl.backends.tensorrt import builder
from edgetl.backends.tensorrt.binding import load_binding
from edgetl.backends.tensorrt.failures import explain
from edgetl.backends.tensorrt.layers import LayerReport
from edgetl.backends.tensorrt.settings import BuildSettings
from edgetl.errors import BackendError, InputError
from edgetl.profiles import Target

SPEC = EngineSpec("tensorrt-rtx", "model.engine", "int8", "f16", "cuda:0")
ADA = BuildSettings(compute_capabilities=("8.9",))


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(BackendError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def raw_build(model: Path, settings: BuildSettings = ADA) -> builder.Built:
    return builder.build_engine(load_binding("tensorrt-rtx"), model, settings)


def one_node(path: Path, operator: str) -> Path:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], name="culprit")],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("capability", ["8.7", "9.0", "11.0", "6.1"])
def test_wrong_capability(
    rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path, capability: str
) -> None:
    target = rtx_target(compute_capabilities=(capability,))
    said = refused(lambda: rtx.build(qdq, target, tmp_path))
    assert capability.replace(".", "") in said and "86, 89, 120" in said and "built on the device" in said
    assert not list(tmp_path.iterdir())


def test_the_gpu_here_needs_a_gpu_here(rtx: Backend, qdq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if rtx.available().devices:
        pytest.skip("this machine has a GPU")
    trt = load_binding("tensorrt-rtx").trt
    monkeypatch.setattr(builder, "_capabilities", lambda *_: [trt.ComputeCapability.CURRENT])
    assert "needs an NVIDIA GPU and its driver" in refused(lambda: raw_build(qdq))


def test_turing_has_no_float32_gemm(rtx: Backend, chain: Any) -> None:
    said = refused(lambda: raw_build(chain.model, BuildSettings(compute_capabilities=("7.5",))))
    assert "edgetl/head" in said or "gemm" in said.lower()
    assert 'float_precision = "f16"' in said


def test_int32_bias(rtx: Backend, rtx_target: Callable[..., Target], kits: Any, tmp_path: Path) -> None:
    """What onnxruntime's quantizer writes when left to its defaults."""
    model = kits("onnxruntime").int8_model
    said = refused(lambda: rtx.prepare(model, rtx_target(), tmp_path / "model.onnx"))
    assert "edgetl quantize" in said
    assert "quantize with a TensorRT target" in refused(lambda: raw_build(model))


def test_asymmetric_activations(
    rtx: Backend, rtx_target: Callable[..., Target], chain: Any, calibration: Any, recipe: Any, tmp_path: Path
) -> None:
    asymmetric = recipe.model_copy(update={"activations": "asymmetric"})
    with pytest.raises(InputError, match="zero point"):
        rtx.quantize(chain.model, calibration, asymmetric, rtx_target(), [], tmp_path / "q.onnx")


def test_unsupported_operator(rtx: Backend, rtx_target: Callable[..., Target], tmp_path: Path) -> None:
    model = one_node(tmp_path / "unique.onnx", "Unique")
    said = refused(lambda: raw_build(model))
    assert "Unique" in said and "culprit" in said and "no such operator" in said
    binding = load_binding("tensorrt-rtx")
    assert any("Unique" in line for line in builder.supported(binding, model))


def test_missing_profile(rtx: Backend, qdq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """edgetl adds one; without it TensorRT says so, and so do we."""
    monkeypatch.setattr(builder, "_fix_batch", lambda *_: None)
    assert "fix the model's batch size" in refused(lambda: raw_build(qdq))


def test_dynamic_size_besides_the_batch(rtx: Backend, chain: Any, tmp_path: Path) -> None:
    model = onnx.load(chain.model)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    onnx.save(model, tmp_path / "dynamic.onnx")
    assert "dynamic size besides its batch" in refused(lambda: raw_build(tmp_path / "dynamic.onnx"))


@pytest.mark.parametrize("content", [b"garbage" * 50, b"", b"<html></html>"])
def test_a_file_that_is_no_model(rtx: Backend, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    assert "bad.onnx" in refused(lambda: raw_build(tmp_path / "bad.onnx"))


def built(rtx: Backend, target: Target, model: Path, folder: Path) -> Path:
    rtx.prepare(model, target, folder / "model.onnx")
    return folder / rtx.build(folder / "model.onnx", target, folder)


def test_foreign_engine(rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path) -> None:
    """An engine of full TensorRT, one of another version, and something else altogether."""
    engine = built(rtx, rtx_target(), qdq, tmp_path)
    whole = engine.read_bytes()
    for sidecar in tmp_path.glob("*.json"):
        sidecar.unlink()
    engine.write_bytes(b"ptrt" + whole[4:])
    said = refused(lambda: rtx.load(engine, SPEC))
    assert "full TensorRT" in said and "edgetl build BUNDLE" in said
    engine.write_bytes(whole[:24] + bytes([1, 2, 0, 9]) + whole[28:])
    said = refused(lambda: rtx.load(engine, SPEC))
    assert "1.2.0.9" in said and "edgetl build BUNDLE" in said
    engine.write_bytes(b"\x7fELF" + whole[4:])
    assert "no TensorRT engine" in refused(lambda: rtx.load(engine, SPEC))


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("with_key", [True, False])
def test_truncated_engine(
    rtx: Backend,
    rtx_target: Callable[..., Target],
    qdq: Path,
    tmp_path: Path,
    share: float,
    with_key: bool,
) -> None:
    engine = built(rtx, rtx_target(), qdq, tmp_path)
    whole = engine.read_bytes()
    if not with_key:
        (tmp_path / "build.json").unlink()
    engine.write_bytes(whole[: int(len(whole) * share)])
    said = refused(lambda: rtx.load(engine, SPEC))
    assert "truncated" in said or "no TensorRT engine" in said


def test_altered_engine(rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path) -> None:
    engine = built(rtx, rtx_target(), qdq, tmp_path)
    data = bytearray(engine.read_bytes())
    data[-100] ^= 1
    engine.write_bytes(data)
    assert "altered" in refused(lambda: rtx.load(engine, SPEC))


def test_no_gpu(rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path) -> None:
    if rtx.available().devices:
        pytest.skip("this machine has a GPU")
    engine = built(rtx, rtx_target(), qdq, tmp_path)
    said = refused(lambda: rtx.load(engine, SPEC))
    assert "no NVIDIA GPU or driver here" in said and "8.6 or 8.9 or 12.0" in said


@pytest.mark.parametrize("device", ["CPU", "", "cuda:x", "gpu:0"])
def test_unknown_device(
    rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, tmp_path: Path, device: str
) -> None:
    engine = built(rtx, rtx_target(), qdq, tmp_path)
    assert "cuda:0" in refused(lambda: rtx.load(engine, replace(SPEC, device=device)))


def test_int8_that_was_not_built_in_int8(
    rtx: Backend,
    rtx_target: Callable[..., Target],
    qdq: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proof is read from the builder: a plan whose layers are float is no INT8 engine."""
    float_layers = raw_build(_float_twin(qdq, tmp_path)).layers
    from edgetl.backends.tensorrt import make

    real = make.build_apart
    monkeypatch.setattr(make, "build_apart", lambda *args: replace(real(*args), layers=float_layers))
    said = refused(lambda: rtx.build(qdq, rtx_target(), tmp_path))
    assert "built in float" in said and "keep_float" in said
    monkeypatch.setattr(make, "build_apart", lambda *args: replace(real(*args), layers=LayerReport(())))
    assert "does not tell the precision of 4 of 4" in refused(lambda: rtx.build(qdq, rtx_target(), tmp_path))
    assert not (tmp_path / "model.engine").exists()


def _float_twin(qdq: Path, folder: Path) -> Path:
    """The same graph with its Q/DQ taken out: nodes keep their names."""
    model = onnx.load(qdq)
    source: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            source[node.output[0]] = source.get(node.input[0], node.input[0])
        else:
            kept.append(node)
    for node in kept:
        node.input[:] = [source.get(name, name) for name in node.input]
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT8 and tensor.dims:
            values = onnx.numpy_helper.to_array(tensor).astype("float32")
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    del model.graph.value_info[:]
    onnx.save(model, folder / "float.onnx")
    return folder / "float.onnx"


def test_explain_picks_the_telling_line() -> None:
    assert explain([]) == "TensorRT gave no reason"
    lines = ["something vague", "cudaError 35: CUDA driver version is insufficient", "something later"]
    assert explain(lines).startswith("cudaError 35") and "driver" in explain(lines)
    echo = "Node 'a': no importer\n[x::catchCudaError] cudaError 35"
    assert "no such operator" in explain([echo]) and "catchCudaError" not in explain([echo])
    assert len(explain(["x" * 5000])) < 400


def test_a_failed_build_does_not_touch_the_next(
    rtx: Backend, rtx_target: Callable[..., Target], qdq: Path, chain: Any, tmp_path: Path
) -> None:
    """In one process it does: after this failure TensorRT for RTX 1.7 built convolutions in float."""
    turing = rtx_target(precision="f32", float_precision="f32", compute_capabilities=("7.5",))
    engines = []
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        engines.append(built(rtx, rtx_target(), qdq, tmp_path / name).read_bytes())
        refused(lambda: rtx.build(chain.model, turing, tmp_path))
    assert engines[0] == engines[1]


def test_a_crash_is_an_error(
    rtx: Backend, tmp_path: Path, qdq: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgetl.backends.tensorrt import apart

    monkeypatch.setattr(apart, "__package__", "no_such_package")
    said = refused(lambda: apart.build_apart("tensorrt-rtx", qdq, ADA, tmp_path))
    assert "died building qdq.onnx" in said
