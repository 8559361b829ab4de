"""onnxruntime's other providers: what is asked of them, what they may leave to the CPU, what they compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgetl.backends import get_backend
from edgetl.backends.base import Backend, EngineSpec
from edgetl.backends.onnxruntime import CPU, NVIDIA
from edgetl.backends.onnxruntime.session import OnnxRuntimeSession, session_options
from edgetl.context import Context
from edgetl.engines import build_engine
from edgetl.errors import BackendError, InputError
from edgetl.profiles import Target, target

CUDA, TENSORRT, _ = NVIDIA
AZURE = "AzureExecutionProvider"
GPU_TARGETS = ("onnxruntime-cuda", "onnxruntime-tensorrt")
NO_CPU = "session.disable_cpu_ep_fallback"


@pytest.fixture
def backend() -> Backend:
    return get_backend("onnxruntime")


@pytest.fixture
def kit(kits: Callable[[str], Any]) -> Any:
    return kits("onnxruntime")


class Provider:
    """Stands for a provider with its GPU; the CPU computes.

    Attributes:
        providers: asked for, session by session.
        options: session options, session by session.
        compiles: what it makes of a model when it is asked for a context model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.providers: list[Any] = []
        self.options: list[onnxruntime.SessionOptions] = []
        self.compiles: Callable[[onnx.ModelProto], bytes | None] = with_context
        self._real = onnxruntime.InferenceSession

    def __call__(self, model: str, options: Any, providers: Any, enable_fallback: int) -> Any:
        assert enable_fallback == 0
        self.providers.append(providers)
        self.options.append(options)
        if entry(options, "ep.context_enable") == "1":
            assert entry(options, "ep.context_embed_mode") == "1"
            compiled = self.compiles(onnx.load(model))
            if compiled is not None:
                Path(entry(options, "ep.context_file_path")).write_bytes(compiled)
        session = self._real(model, providers=[CPU])
        offered = ("run", "get_inputs", "get_outputs", "get_modelmeta")
        return SimpleNamespace(
            get_providers=lambda: [self.name, CPU], **{name: getattr(session, name) for name in offered}
        )


def with_context(model: onnx.ModelProto) -> bytes:
    model.doc_string = "EPContext"
    return model.SerializeToString()


def entry(options: Any, name: str) -> str:
    try:
        found: str = options.get_session_config_entry(name)
    except RuntimeError:  # no such entry
        return ""
    return found


@pytest.fixture(params=[CUDA, TENSORRT])
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    found = Provider(request.param)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [request.param, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", found)
    monkeypatch.setattr("edgetl.backends.onnxruntime.gpus", lambda: ("a GPU",))
    return found


@pytest.fixture
def azure(kit: Any) -> EngineSpec:
    """A provider that is there and can run none of a network's nodes."""
    if AZURE not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {AZURE}")
    spec: EngineSpec = replace(kit.spec, device=AZURE)
    return spec


@pytest.mark.parametrize("value", ["1", 1, True])
def test_an_option_of_the_session(backend: Backend, kit: Any, value: str | int | bool) -> None:
    """Without the fusion of Q/DQ nodes onnxruntime computes in float what it else computes in INT8."""
    spec = replace(kit.spec, options={"session.disable_quant_qdq": value})
    assert backend.load(kit.int8_engine, kit.spec).precision().used == "int8"
    assert backend.load(kit.int8_engine, spec).precision().used == "f32"


def test_tensorrts_simulator_computes_in_float(backend: Backend, kit: Any, batch: np.ndarray) -> None:
    spec = get_backend("tensorrt").simulator(replace(kit.spec, backend="tensorrt", device="cuda:0"))
    assert spec is not None and spec.backend == "onnxruntime"
    simulator, fused = (backend.load(kit.int8_engine, each) for each in (spec, kit.spec))
    assert simulator.precision().used == "f32"
    assert np.allclose(simulator.run(batch), fused.run(batch), atol=0.01)


def test_options_of_the_provider_are_its_own(provider: Provider, kit: Any, batch: np.ndarray) -> None:
    options = {"device_id": 1, "use_tf32": 0, "session.intra_op.allow_spinning": False}
    spec = replace(kit.spec, device=provider.name, options=options)
    assert OnnxRuntimeSession(kit.float_engine, spec).run(batch).shape == (12, 3)
    assert provider.providers == [[(provider.name, {"device_id": 1, "use_tf32": 0})]]
    assert entry(provider.options[0], "session.intra_op.allow_spinning") == "0"


def test_the_cpu_may_help_only_when_told(provider: Provider, kit: Any) -> None:
    spec = replace(kit.spec, device=provider.name)
    assert entry(session_options(spec), NO_CPU) == "1"
    assert entry(session_options(replace(spec, options={NO_CPU: "0"})), NO_CPU) == "0"
    assert entry(session_options(kit.spec), NO_CPU) == ""  # it would forbid the CPU itself
    OnnxRuntimeSession(kit.float_engine, spec)
    assert provider.providers == [[provider.name]]


@pytest.mark.parametrize("part", ["float", "int8"])
def test_nodes_left_to_the_cpu_are_an_error(backend: Backend, kit: Any, azure: EngineSpec, part: str) -> None:
    with pytest.raises(BackendError) as caught:
        backend.load(getattr(kit, f"{part}_engine"), azure)
    said = str(caught.value)
    assert said.startswith(f"asked onnxruntime for {AZURE}, it fell back to {CPU} for nodes of ")
    assert NO_CPU in said and "\n" not in said


def test_nodes_left_to_the_cpu_are_counted(
    backend: Backend, kit: Any, azure: EngineSpec, batch: np.ndarray
) -> None:
    session = backend.load(kit.int8_engine, replace(azure, options={NO_CPU: "0"}))
    found = session.placement()
    assert (found.device, found.share_of_nodes, found.share_of_time) == (AZURE, 0.0, 0.0)
    assert len(found.elsewhere) > 3 and any("conv0" in name for name in found.elsewhere)
    assert np.array_equal(session.run(batch), backend.load(kit.int8_engine, kit.spec).run(batch))


def node(name: str, device: str, operator: str, kind: str, duration: int) -> dict[str, Any]:
    types = [{kind: [1, 8, 16, 16]}]
    return {
        "name": name,
        "dur": duration,
        "args": {"provider": device, "op_name": operator, "input_type_shape": types},
    }


def test_placement_and_precision_of_a_gpu(provider: Provider, kit: Any) -> None:
    gpu = provider.name
    session = OnnxRuntimeSession(kit.float_engine, replace(kit.spec, device=gpu, precision="f32"))
    nodes = [node("conv0", gpu, "Conv", "float", 5), node("conv1", gpu, "FusedConv", "float", 5)]
    session.__dict__["_profile"] = nodes
    assert session.placement().to_dict() == {
        "device": gpu,
        "share_of_nodes": 1.0,
        "share_of_time": 1.0,
        "elsewhere": [],
    }
    assert (session.precision().used, session.precision().layers) == ("f32", {"f32": 2})
    session.__dict__["_profile"] = [*nodes, node("softmax", CPU, "Softmax", "float", 90)]
    found = session.placement()
    # the host's times do not tell how long the GPU took
    assert (found.share_of_nodes, found.share_of_time, found.elsewhere) == (2 / 3, None, ("softmax",))
    session.__dict__["_profile"] = [node("TRTKernel_graph_0", gpu, "TRTKernel_graph_0", "uint8", 10)]
    found = session.precision()
    assert (found.used, found.float_part, found.layers) == ("unknown", "unknown", {})


def test_obstacles(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = target("onnxruntime-cuda")
    assert backend.obstacle(target("x86-onnxruntime")) is None
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    assert f"onnxruntime has no {CUDA} here" in (backend.obstacle(cuda) or "")
    # the GPU package lists its providers on machines without a GPU too
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*NVIDIA, CPU])
    monkeypatch.setattr("edgetl.backends.onnxruntime.gpus", lambda: ())
    assert "no NVIDIA GPU here" in (backend.obstacle(cuda) or "")
    monkeypatch.setattr("edgetl.backends.onnxruntime.gpus", lambda: ("a GPU",))
    assert backend.obstacle(cuda) is None


@pytest.mark.parametrize("name", GPU_TARGETS)
def test_gpu_targets_are_made_here_and_answered_for_by_the_cpu(
    name: str, tiny: Any, kit: Any, backend: Backend, batch: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    found = target(name)
    assert found.device in NVIDIA and found.precision == "f32" and found.compute_capabilities == ()
    engine = build_engine(Context(), tiny.model, found)
    assert engine.spec.file == "model.onnx" and not engine.standing.loads
    assert (engine.folder / engine.spec.file).read_bytes() == tiny.model.read_bytes()
    answering = engine.answering()
    assert (answering.spec.device, answering.spec.options) == (CPU, {})
    assert answering.standing.kind == "simulated" and backend.simulator(answering.spec) is None
    exact = backend.load(kit.float_engine, replace(kit.spec, precision="f32"))
    assert np.array_equal(answering.open().run(batch), exact.run(batch))


def compiled_for(device: str, **build: str | int | float | bool) -> Target:
    return target("onnxruntime-cuda").model_copy(update={"device": device, "build": build})


def test_a_context_model(provider: Provider, backend: Backend, tiny: Any, tmp_path: Path) -> None:
    wanted = compiled_for(provider.name, ep_context=True)
    assert backend.build_parts(wanted) == {"ep_context": True}
    assert backend.build(tiny.model, wanted, tmp_path) == "model_ctx.onnx"
    assert [path.name for path in tmp_path.iterdir()] == ["model_ctx.onnx"]
    compiling, loading = provider.options
    assert entry(compiling, "ep.context_enable") == "1" and entry(loading, "ep.context_enable") == ""
    assert entry(compiling, NO_CPU) == entry(loading, NO_CPU) == "1"
    assert provider.providers == [[(provider.name, {"use_tf32": 0})]] * 2


@pytest.mark.parametrize(
    ("compiles", "said"),
    [
        (lambda model: None, "compiles nothing that could be kept"),
        (lambda model: model.SerializeToString(), "compiles nothing that could be kept"),
        (lambda model: b"EPContext", "cannot load model_ctx.onnx"),
    ],
)
def test_a_context_model_that_is_none(
    provider: Provider, backend: Backend, tiny: Any, tmp_path: Path, compiles: Any, said: str
) -> None:
    provider.compiles = compiles
    with pytest.raises(BackendError, match=said) as caught:
        backend.build(tiny.model, compiled_for(provider.name, ep_context=True), tmp_path)
    assert "\n" not in str(caught.value)


def test_onnxruntimes_own_cpu_compiles_nothing(backend: Backend, tiny: Any, tmp_path: Path) -> None:
    wanted = compiled_for(CPU, ep_context=True).model_copy(update={"options": {}})
    with pytest.raises(BackendError, match=f"{CPU} compiles nothing"):
        backend.build(tiny.model, wanted, tmp_path)


@pytest.mark.parametrize("build", [{}, {"ep_context": False}])
def test_no_context_model_unless_asked_for(
    provider: Provider, backend: Backend, tiny: Any, tmp_path: Path, build: dict[str, bool]
) -> None:
    wanted = compiled_for(provider.name, **build)
    assert backend.build(tiny.model, wanted, tmp_path) == "model.onnx" and provider.options == []
    assert backend.build_parts(wanted) == {"ep_context": False}


@pytest.mark.parametrize("build", [{"ep_contexts": True}, {"ep_context": 1}, {"ep_context": "true"}])
def test_build_settings(backend: Backend, tiny: Any, tmp_path: Path, build: dict[str, Any]) -> None:
    for verb in (backend.build_parts, lambda each: backend.build(tiny.model, each, tmp_path)):
        with pytest.raises(InputError, match="ep_context") as caught:
            verb(compiled_for(CPU, **build))
        assert "\n" not in str(caught.value)
