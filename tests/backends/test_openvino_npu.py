"""Intel's NPU and GPU: what OpenVINO offers of them on a machine that has neither."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgetl import profiles
from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.backends.openvino import devices, npu
from edgetl.errors import BackendError, InputError
from edgetl.profiles import Target

NPUS = ("intel-npu-3720", "intel-npu-4000", "intel-npu-5010")
COMPOSITE = ("AUTO", "AUTO:CPU", "MULTI:CPU", "HETERO:CPU", "BATCH:CPU(2)")


@pytest.fixture(scope="module")
def backend() -> Any:
    return get_backend("openvino")


@pytest.fixture
def target() -> Target:
    return profiles.target("intel-npu-4000")


@pytest.fixture
def no_npu_compiler() -> None:
    if npu.compiler_version() is not None:
        pytest.skip("this machine has an NPU compiler")


def spec_of(target: Target, file: str) -> EngineSpec:
    return EngineSpec(
        "openvino", file, target.precision, target.float_precision, target.device, target.options
    )


@pytest.mark.parametrize("device", COMPOSITE)
def test_devices_that_may_fall_back_are_refused(
    device: str, kits: Callable[[str], Any], backend: Any, tmp_path: Path
) -> None:
    kit = kits("openvino")
    with pytest.raises(InputError, match="name one device, or set allow_fallback = true"):
        backend.load(kit.int8_engine, replace(kit.spec, device=device))
    with pytest.raises(InputError, match="name one device"):
        backend.build(kit.int8_model, kit.target.model_copy(update={"device": device}), tmp_path)
    with pytest.raises(InputError, match="must be true or false"):
        backend.load(kit.int8_engine, replace(kit.spec, device=device, options={"allow_fallback": 1}))


@pytest.mark.parametrize("device", ["HETERO:CPU", "AUTO:CPU"])
def test_a_fallback_asked_for_names_its_devices(
    device: str, kits: Callable[[str], Any], backend: Any, batch: np.ndarray
) -> None:
    kit = kits("openvino")
    session = backend.load(
        kit.int8_engine, replace(kit.spec, device=device, options={"allow_fallback": True})
    )
    plain = backend.load(kit.int8_engine, kit.spec)
    assert np.array_equal(session.run(batch[:1]), plain.run(batch[:1]))
    assert session.precision().used == plain.precision().used == "int8"
    placement = session.placement()
    assert (placement.device, placement.share_of_nodes, placement.elsewhere) == ("CPU", 1.0, ())


def test_where_each_node_goes_is_told(kits: Callable[[str], Any], backend: Any) -> None:
    kit = kits("openvino")
    options = {"allow_fallback": True}
    session = backend.load(kit.int8_engine, replace(kit.spec, device="HETERO:CPU", options=options))
    session._nodes = {**session._nodes, next(iter(session._nodes)): "GPU.0"}
    placement = session.placement()
    assert 0.5 < placement.share_of_nodes < 1
    assert placement.share_of_time is not None and 0 <= placement.share_of_time <= 1
    assert [text.rpartition(" on ")[2] for text in placement.elsewhere] == ["GPU.0"]


@pytest.mark.parametrize("name", [*NPUS, "intel-gpu"])
def test_a_device_that_is_not_here_costs_no_import(name: str) -> None:
    if any(Path("/dev").glob("accel/accel*")) or any(Path("/dev").glob("dri/renderD*")):
        pytest.skip("this machine may have the device")
    code = (
        "import sys; from edgetl import profiles; from edgetl.backends import get_backend\n"
        f"print(get_backend('openvino').obstacle(profiles.target({name!r})), 'openvino' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kind = "GPU" if name == "intel-gpu" else "NPU"
    assert done.stdout == f"there is no Intel {kind} here; {name} runs on one False\n"


def test_a_device_file_alone_is_no_device(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    """Other makers' accelerators have such a file too: OpenVINO itself is asked then."""
    if "NPU" in get_backend("openvino").available().devices:
        pytest.skip("this machine has the device")
    monkeypatch.setattr(devices, "_has_file", lambda kind: True)
    found = devices.obstacle(target)
    assert found and found.startswith("OpenVINO sees no NPU here, only CPU")
    devices._look_up.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = devices.obstacle(target)
    assert found and "pip install 'edgetl[openvino]'" in found and "\n" not in found
    devices._look_up.cache_clear()


@pytest.mark.parametrize("device", ["NPU", "GPU"])
def test_an_absent_device_is_one_line(device: str, kits: Callable[[str], Any], backend: Any) -> None:
    if device in backend.available().devices:
        pytest.skip("this machine has the device")
    kit = kits("openvino")
    with pytest.raises(BackendError, match=f"^OpenVINO sees no {device} here, only CPU"):
        backend.load(kit.int8_engine, replace(kit.spec, device=device))


def test_another_generation_is_no_device_of_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_has_file", lambda kind: True)
    present = devices.Device("Intel(R) AI Boost", "4000", ("FP16", "INT8"))
    monkeypatch.setattr(devices, "_look_up", lambda device: present)
    found = {name: devices.obstacle(profiles.target(name)) for name in NPUS}
    assert found["intel-npu-4000"] is None
    assert found["intel-npu-3720"] == "the NPU here is an NPU 4000; intel-npu-3720 needs an NPU 3720"
    old = devices.Device("Intel(R) UHD Graphics", "GPU: vendor=0x8086 arch=v9.0.0", ("FP32", "FP16"))
    monkeypatch.setattr(devices, "_look_up", lambda device: old)
    found_gpu = devices.obstacle(profiles.target("intel-gpu"))
    assert found_gpu and "does not compute in INT8" in found_gpu


@pytest.mark.usefixtures("no_npu_compiler")
def test_without_a_compiler_the_engine_says_that_it_is_not_compiled(
    kits: Callable[[str], Any], backend: Any, target: Target, tmp_path: Path
) -> None:
    file = backend.build(kits("openvino").int8_model, target, tmp_path)
    assert file == "model.xml" and not list(tmp_path.rglob("*.blob"))
    proof = backend.proof(tmp_path / file, spec_of(target, file))
    assert not proof.compiled and proof.precision is None and proof.placement is None
    note = proof.layers["findings"][0]
    assert note.startswith("not compiled: OpenVINO 20") and "\n" not in note and "Exception" not in note
    assert backend.build_parts(target) == {"npu_platform": "4000", "npu_compiler": None}


def test_a_gpu_compiles_when_it_loads(kits: Callable[[str], Any], backend: Any, tmp_path: Path) -> None:
    target = profiles.target("intel-gpu")
    file = backend.build(kits("openvino").int8_model, target, tmp_path)
    proof = backend.proof(tmp_path / file, spec_of(target, file))
    assert not proof.compiled and "driver of the GPU" in proof.layers["findings"][0]
    assert backend.build_parts(target) == {}
    assert backend.proof(kits("openvino").int8_engine, kits("openvino").spec) is None


@pytest.mark.parametrize("vnni", [True, False])
def test_the_cpu_answers_for_the_npu(
    vnni: bool,
    kits: Callable[[str], Any],
    backend: Any,
    target: Target,
    tmp_path: Path,
    batch: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it computes is the Q/DQ model as it is written, on processors with and without VNNI."""
    if vnni and not devices.has_vnni():
        pytest.skip("this machine has no VNNI")
    monkeypatch.setattr("edgetl.backends.openvino.has_vnni", lambda: vnni)
    model = kits("openvino").int8_model
    file = backend.build(model, target, tmp_path)
    simulator = backend.simulator(spec_of(target, file))
    assert simulator.float_precision == "f32" and simulator.backend == ("openvino" if vnni else "onnxruntime")
    engine = tmp_path / simulator.file if vnni else model
    session = get_backend(simulator.backend).load(engine, simulator)
    found = np.concatenate([session.run(image[None]) for image in batch])
    if vnni:
        precision = session.precision()
        assert precision.float_part == "f32" and precision.used == "int8"
        portable = backend.load(model, backend.stand_in(spec_of(target, model.name)))
        assert np.array_equal(np.concatenate([portable.run(image[None]) for image in batch]), found)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    reference = onnxruntime.InferenceSession(str(model), options)
    expected = reference.run(None, {reference.get_inputs()[0].name: batch})[0]
    assert np.allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert np.array_equal(found.argmax(1), expected.argmax(1))


def test_ahead_of_time_compilation_in_a_child(
    kits: Callable[[str], Any], backend: Any, tmp_path: Path, batch: np.ndarray
) -> None:
    """The path that an NPU's compiler takes, with the CPU plugin, which has a compiler everywhere."""
    kit = kits("openvino")
    blob = tmp_path / npu.BLOB
    made = npu.compile_apart(kit.int8_engine, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}, blob)
    assert made == {"device": "CPU", "share": 1.0, "elsewhere": []}
    session = backend.load(blob, kit.spec)
    assert session.precision().used == "int8" and session.placement().share_of_nodes == 1.0
    expected = backend.load(kit.int8_engine, kit.spec).run(batch[:1])
    assert np.array_equal(session.run(batch[:1]), expected)
    assert npu.simulated_file(npu.BLOB) == "ir/model.xml"
    assert npu.simulated_file("engine/model.blob") == "engine/ir/model.xml"


@pytest.mark.usefixtures("no_npu_compiler")
def test_a_compiler_that_fails_is_one_line(kits: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"OpenVINO's NPU compiler: .*npu_compiler") as error:
        npu.compile_apart(kits("openvino").int8_engine, "NPU", {"NPU_PLATFORM": "4000"}, tmp_path / npu.BLOB)
    assert "\n" not in str(error.value) and not (tmp_path / npu.BLOB).exists()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"platform": "4000"}, "no build setting 'platform'; known: npu_platform"),
        ({"npu_platform": 4000}, "four digits in quotes"),
        ({"npu_platform": "NPU4"}, "four digits in quotes"),
    ],
)
def test_build_settings_are_checked(
    build: dict[str, Any], message: str, backend: Any, target: Target
) -> None:
    with pytest.raises(InputError, match=message):
        backend.build_parts(target.model_copy(update={"build": build}))


def test_the_targets_name_their_generation() -> None:
    for name in NPUS:
        target = profiles.target(name)
        assert target.processor == target.device.lower() == "npu"
        assert npu.platform(target) == name.rpartition("-")[2]


def exotic(path: Path, domain: str = "") -> Path:
    """A convolution, an operator that few know, and a Relu; float NCHW without edgetl's prefix."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Optional", ["c"], ["o"], name="wrap"),
        helper.make_node("OptionalGetElement", ["o"], ["g"], name="unwrap"),
        helper.make_node("Relu", ["g"], ["y"], name="relu"),
    ]
    if domain:
        nodes[1:3] = [helper.make_node("Frobnicate", ["c"], ["g"], name="frob", domain=domain)]
    shape = ["N", 4, 30, 30]
    graph = helper.make_graph(
        nodes,
        "exotic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weight],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@pytest.mark.parametrize("name", ["x86-vnni", "intel-npu-3720", "intel-gpu"])
def test_the_frontend_names_every_node_it_refuses(name: str, backend: Any, tmp_path: Path) -> None:
    target, why = profiles.target(name), "OpenVINO's frontend has no conversion for it"
    assert backend.supports(exotic(tmp_path / "a.onnx"), target) == [
        f"Optional node wrap: {why}",
        f"OptionalGetElement node unwrap: {why}",
    ]
    assert backend.supports(exotic(tmp_path / "b.onnx", "acme"), target) == [
        f"acme.Frobnicate node frob: {why}"
    ]


@pytest.mark.usefixtures("no_npu_compiler")
def test_what_only_the_device_can_say_is_not_said(
    backend: Any, target: Target, kits: Callable[[str], Any]
) -> None:
    model = kits("openvino").int8_model
    assert backend.supports(model, kits("openvino").target) == []
    with pytest.raises(BackendError, match=r"frontend converts every operator; of the NPU only its compiler"):
        backend.supports(model, target)
    if "GPU" not in backend.available().devices:
        with pytest.raises(BackendError, match="of the GPU only a machine that has one can say"):
            backend.supports(model, profiles.target("intel-gpu"))
