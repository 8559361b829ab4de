"""TensorRT sessions on a pretended GPU that computes in onnxruntime, and on the real library without one."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends.base import EngineSpec, LayerTime
from edgetl.backends.tensorrt.binding import Binding
from edgetl.backends.tensorrt.cuda import Cuda
from edgetl.backends.tensorrt.log import Recorder, make_logger
from edgetl.backends.tensorrt.session import TensorRtSession
from edgetl.errors import BackendError, InputError, MissingDependencyError
from tests.backends.tensorrt import doubles
from tests.backends.tensorrt.doubles import DataType, FakeCuda, FakeTensorRt, Pretence

RUNTIME = "cuda.bindings.runtime"
DYNAMIC, FIXED = (-1, 32, 32, 3), (2, 32, 32, 3)


class Bench:
    """A pretended machine and the engine on it."""

    def __init__(self, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.engine = engine
        self.told = Pretence({"image": [*DYNAMIC], "logits": [-1, 3]})
        self.machine()

    def machine(self, **about: Any) -> FakeCuda:
        self.cuda = FakeCuda(**about)
        self._monkeypatch.setitem(sys.modules, RUNTIME, self.cuda)
        return self.cuda

    def fix_batch(self) -> None:
        self.told.shapes = {"image": [*FIXED], "logits": [2, 3]}

    def open(
        self, *, throughput: bool = False, device: str = "cuda:0", **options: str | int | float | bool
    ) -> TensorRtSession:
        trt: Any = FakeTensorRt(self.cuda, self.told)
        recorder = Recorder()
        binding = Binding("tensorrt", trt, recorder, make_logger(trt, recorder))
        self.trt = trt
        spec = EngineSpec("tensorrt", self.engine.name, "int8", "f16", device, options)
        return TensorRtSession(self.engine, spec, binding, throughput=throughput)

    def refuses(self, kind: type[Exception] = BackendError, **options: Any) -> str:
        """The line it says when it does not open; nothing is left allocated."""
        with pytest.raises(kind) as caught:
            self.open(**options)
        assert "\n" not in str(caught.value)
        gc.collect()
        assert self.cuda.open() == []
        return str(caught.value)


@pytest.fixture
def bench(chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Afterwards nothing may be left on the pretended GPU."""
    engine = tmp_path / "model.engine"
    engine.write_bytes(chain.model.read_bytes())
    found = Bench(engine, monkeypatch)
    yield found
    gc.collect()
    assert found.cuda.open() == []


@pytest.fixture(params=["own memory", "host's memory"])
def machine(request: pytest.FixtureRequest, bench: Bench) -> FakeCuda:
    return bench.machine(integrated=request.param == "host's memory")


@pytest.fixture(scope="module")
def expected(chain: Any) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(chain.model, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {session.get_inputs()[0].name: images})[0]


@pytest.mark.usefixtures("machine")
def test_run(bench: Bench, batch: np.ndarray, expected: Any) -> None:
    session = bench.open()
    assert session.input_shape == (32, 32, 3) and session.device_memory_bytes == 4096
    answers = []
    for start, rows in ((0, 1), (1, 1), (2, 1), (3, 4), (4, 4), (5, 2), (6, 3), (7, 3), (8, 3), (9, 1)):
        images = batch[start : start + rows].copy()
        answers.append((expected(images), session.run(images)))
        images[:] = 0
    for wanted, found in answers:  # all of them now: each answer is the caller's to keep
        assert found.dtype == np.float32 and np.array_equal(found, wanted)
    assert session.notes == []
    session.close()


@pytest.mark.usefixtures("machine")
def test_fixed_batch(bench: Bench, batch: np.ndarray, expected: Any) -> None:
    bench.fix_batch()
    session = bench.open()
    assert np.array_equal(session.run(batch[:2]), expected(batch[:2]))
    with pytest.raises(BackendError, match="engine has a fixed batch of 2, got 3 images"):
        session.run(batch[:3])
    with pytest.raises(InputError, match="uint8"):
        session.run(batch[:2].astype(np.float32))


@pytest.mark.parametrize("rows", [0, 5])
def test_batches_outside_the_engines_range(bench: Bench, batch: np.ndarray, rows: int) -> None:
    with pytest.raises(BackendError, match=f"engine has batches of 1 to 4, got {rows} images"):
        bench.open().run(batch[:rows])


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("contexts", [1, 2, 3])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_run_many(bench: Bench, batch: np.ndarray, expected: Any, contexts: int, cuda_graph: bool) -> None:
    bench.fix_batch()
    session = bench.open(throughput=True, contexts=contexts, cuda_graph=cuda_graph)
    assert bench.trt.contexts == contexts
    pairs = [batch[[number % 12, (5 * number + 1) % 12]] for number in range(40)]
    hand: np.ndarray = np.empty_like(pairs[0])

    def source() -> Iterator[np.ndarray]:
        for pair in pairs:
            hand[:] = pair  # the one array is used again and again
            yield hand

    found: dict[int, np.ndarray] = {}

    def consume(index: int, logits: np.ndarray) -> None:
        assert index not in found
        found[index] = logits

    session.run_many(source(), consume)
    assert list(found) == list(range(40))
    assert all(np.array_equal(found[index], expected(pair)) for index, pair in enumerate(pairs))
    assert ("cudaGraphLaunch" in bench.cuda.calls) is cuda_graph


def test_run_many_keeps_the_gpu_busy(bench: Bench, batch: np.ndarray) -> None:
    session = bench.open(throughput=True)
    images = [batch[:1]] * 8
    session.run_many(iter(images), lambda index, logits: None)
    bench.cuda.calls.clear()
    session.run_many(iter(images), lambda index, logits: None)
    order = [call for call in bench.cuda.calls if call in ("cudaGraphLaunch", "cudaStreamSynchronize")]
    launch, wait = "cudaGraphLaunch", "cudaStreamSynchronize"
    assert order == [launch, *[launch, wait] * 7, wait]


def test_run_many_of_nothing(bench: Bench) -> None:
    bench.open(throughput=True).run_many(iter(()), lambda index, logits: pytest.fail("called"))


@pytest.mark.parametrize("after", range(5))
def test_run_many_hands_on_what_others_raise(
    bench: Bench, batch: np.ndarray, expected: Any, after: int
) -> None:
    session = bench.open(throughput=True)

    def source() -> Iterator[np.ndarray]:
        for _ in range(after):
            yield batch[:1]
        raise InputError("no more")

    def consume(index: int, logits: np.ndarray) -> None:
        if index == after:
            raise KeyError("consumer")

    with pytest.raises(InputError, match="no more"):
        session.run_many(source(), lambda index, logits: None)
    with pytest.raises(KeyError, match="consumer"):
        session.run_many(iter([batch[:1]] * 9), consume)
    with pytest.raises(BackendError, match="batches of 1 to 4"):
        session.run_many(iter([batch[:1]] * after + [batch[:5]]), lambda index, logits: None)
    assert not any(stream.queue for stream in bench.cuda.streams.values())
    assert np.array_equal(session.run(batch[:1]), expected(batch[:1]))


def test_one_launch_is_a_whole_inference(bench: Bench, batch: np.ndarray) -> None:
    session = bench.open()
    for _ in range(2):
        session.run(batch[:1])
    bench.cuda.calls.clear()
    session.run(batch[:1])
    assert bench.cuda.calls == ["cudaSetDevice", "cudaGraphLaunch", "cudaStreamSynchronize"]


def test_a_new_batch_size_gets_a_new_graph(bench: Bench, batch: np.ndarray, expected: Any) -> None:
    session = bench.open()
    for rows in (1, 1, 1, 2, 2, 2, 1, 1):
        assert np.array_equal(session.run(batch[:rows]), expected(batch[:rows]))
    assert bench.cuda.calls.count("cudaGraphInstantiate") == 3
    assert bench.cuda.open().count("executable graph") == 1


def test_sizes_that_keep_changing_are_not_recorded(bench: Bench, batch: np.ndarray) -> None:
    session = bench.open()
    for rows in (1, 2, 3) * 3:
        session.run(batch[:rows])
    assert "cudaStreamBeginCapture" not in bench.cuda.calls and session.notes == []


def test_without_a_graph_on_request(bench: Bench, batch: np.ndarray) -> None:
    session = bench.open(cuda_graph=False)
    for _ in range(3):
        session.run(batch[:1])
    assert "cudaStreamBeginCapture" not in bench.cuda.calls and session.notes == []


def _unrecordable(bench: Bench) -> str:
    bench.told.records = False
    return "Error Code 1: Cuda"


def _refused(bench: Bench) -> str:
    bench.told.invalidates = False
    return _unrecordable(bench)


def _uncapturable(bench: Bench) -> str:
    bench.told.capturable = False
    return "can't be recorded"


def _invalidated(bench: Bench) -> str:
    bench.cuda.failing["cudaGraphInstantiate"] = doubles.CAPTURE_INVALIDATED
    return "cudaGraphInstantiate failed: cudaErrorStreamCaptureInvalidated (operation failed"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("obstacle", [_unrecordable, _refused, _uncapturable, _invalidated])
def test_no_graph_is_no_secret(
    bench: Bench, batch: np.ndarray, expected: Any, obstacle: Callable[[Bench], str]
) -> None:
    reason = obstacle(bench)
    session = bench.open()
    for start in range(4):
        images = batch[start : start + 1]
        assert np.array_equal(session.run(images), expected(images))
    [note] = session.notes
    assert "without a CUDA graph" in note and reason in note and "\n" not in note
    assert not {"graph", "executable graph"} & set(bench.cuda.open())


def test_rtx_engines_that_can_be_recorded_are(bench: Bench, batch: np.ndarray) -> None:
    bench.told.capturable = True
    session = bench.open()
    for _ in range(3):
        session.run(batch[:1])
    assert bench.cuda.calls.count("cudaGraphLaunch") == 2 and session.notes == []


@pytest.mark.parametrize("integrated", [True, False])
def test_a_gpu_in_the_hosts_memory_needs_no_copies(bench: Bench, batch: np.ndarray, integrated: bool) -> None:
    bench.machine(integrated=integrated)
    bench.open(cuda_graph=False).run(batch[:1])
    copies = [bench.cuda.calls.count(name) for name in ("cudaMemcpyAsync", "cudaMalloc")]
    assert copies == ([0, 0] if integrated else [2, 2])


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("how", ["close", "collect"])
def test_everything_is_freed(bench: Bench, batch: np.ndarray, how: str) -> None:
    session = bench.open(throughput=True, contexts=3)
    session.run_many(iter([batch[:1]] * 9), lambda index, logits: None)
    assert len(bench.cuda.open()) > 3 and bench.trt.contexts == 3
    bench.cuda.calls.clear()
    if how == "close":
        session.close()
        session.close()
        with pytest.raises(BackendError, match=r"model\.engine was closed"):
            session.run(batch[:1])
        with pytest.raises(BackendError, match=r"model\.engine was closed"):
            session.placement()
    del session
    assert bench.cuda.open() == [] and bench.trt.contexts == 0  # without the cycle collector
    order = [call for call in bench.cuda.calls if call in ("~IExecutionContext", "cudaStreamDestroy")]
    assert order == ["~IExecutionContext", "cudaStreamDestroy"] * 3


@pytest.mark.parametrize(
    "function", ["cudaHostAlloc", "cudaMalloc", "cudaStreamCreateWithFlags", "cudaHostGetDevicePointer"]
)
@pytest.mark.parametrize("before", range(4))
def test_running_out_while_opening_frees_what_there_was(bench: Bench, function: str, before: int) -> None:
    bench.machine(integrated=function == "cudaHostGetDevicePointer")
    bench.cuda.failing[function] = [0] * before + [doubles.OUT_OF_MEMORY]
    said = bench.refuses(throughput=True, contexts=4)
    assert said == f"{function} failed: cudaErrorMemoryAllocation (out of memory)"


def test_a_context_that_is_not_made(bench: Bench) -> None:
    bench.told.context_fails = True
    assert "TensorRT cannot run the engine: Out of memory in createExecutionContext" in bench.refuses()


@pytest.mark.parametrize(
    ("function", "cuda_graph", "runs"),
    [
        ("cudaMemcpyAsync", True, 0),
        ("cudaMemcpyAsync", False, 2),
        ("cudaGraphLaunch", True, 1),
        ("cudaGraphLaunch", True, 2),
        ("cudaStreamSynchronize", True, 0),
        ("cudaStreamSynchronize", True, 2),
        ("cudaStreamSynchronize", False, 2),
    ],
)
def test_a_gpu_that_fails_while_it_runs(
    bench: Bench, batch: np.ndarray, expected: Any, function: str, cuda_graph: bool, runs: int
) -> None:
    session = bench.open(cuda_graph=cuda_graph)
    for _ in range(runs):
        session.run(batch[:1])
    bench.cuda.failing[function] = [700]
    with pytest.raises(BackendError) as caught:
        session.run(batch[:1])
    said = "cudaErrorIllegalAddress (an illegal memory access was encountered)"
    assert str(caught.value) == f"{function} failed: {said}"
    bench.cuda.cudaStreamSynchronize(next(iter(bench.cuda.streams.values())))
    for _ in range(3):
        assert np.array_equal(session.run(batch[:1]), expected(batch[:1]))
    assert session.notes == []


def test_an_execution_that_fails(bench: Bench, batch: np.ndarray) -> None:
    bench.told.execution_fails = True
    with pytest.raises(BackendError) as caught:
        bench.open().run(batch[:1])
    assert str(caught.value).startswith("TensorRT cannot run the engine: ")
    assert "Cuda Runtime" in str(caught.value)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"shapes": {"image": [-1, 3, 32, 32], "logits": [-1, 3]}}, "takes uint8 ['N', 3, 32, 32]"),
        ({"shapes": {"image": [-1, -1, 32, 3], "logits": [-1, 3]}}, "takes uint8 ['N', 'N', 32, 3]"),
        ({"dtypes": {"image": DataType.FLOAT, "logits": DataType.FLOAT}}, "takes float ["),
        ({"shapes": {"image": [*DYNAMIC], "logits": [-1, 3, 1]}}, "returns float ['N', 3, 1]"),
        ({"shapes": {"image": [*FIXED], "logits": [1, 3]}}, "returns float [1, 3]"),
        ({"shapes": {"image": [*DYNAMIC], "logits": [-1, -1]}}, "returns float ['N', 'N']"),
        ({"dtypes": {"image": DataType.UINT8, "logits": DataType.HALF}}, "returns half"),
        ({"modes": {"image": "INPUT"}}, "has 1 inputs and 0 outputs"),
        ({"modes": {"image": "INPUT", "mask": "INPUT", "logits": "OUTPUT"}}, "has 2 inputs and 1 outputs"),
        ({"formats": {"image": "LINEAR", "logits": "CHW4"}}, "vectorized"),
    ],
)
def test_engines_of_other_tensors(bench: Bench, told: dict[str, Any], said: str) -> None:
    for name, value in told.items():
        setattr(bench.told, name, value)
    refusal = bench.refuses()
    assert refusal.startswith("model.engine ") and said in refusal and "edgetl's engines" in refusal


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_files_that_are_no_engine(bench: Bench, content: bytes | None) -> None:
    bench.engine.unlink()
    if content is not None:
        bench.engine.write_bytes(content)
    assert bench.refuses().startswith("cannot load model.engine: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cuda_graphs": True}, "no option 'cuda_graphs'"),
        ({"cuda_graph": 1}, "true or false"),
        ({"contexts": 0}, "number from 1"),
        ({"contexts": True}, "number from 1"),
        ({"contexts": "2"}, "number from 1"),
    ],
)
def test_options(bench: Bench, options: dict[str, Any], said: str) -> None:
    assert said in bench.refuses(InputError, **options)


@pytest.mark.parametrize(
    ("failing", "driver", "said"),
    [
        (doubles.INSUFFICIENT_DRIVER, 0, "no NVIDIA driver is loaded here"),
        (doubles.INSUFFICIENT_DRIVER, 12020, "knows CUDA up to 12.2"),
        (doubles.NO_DEVICE, 13000, "no NVIDIA GPU is visible here"),
        (700, 13000, "cudaGetDeviceCount failed: cudaErrorIllegalAddress (an illegal memory access"),
    ],
)
def test_machines_without_a_gpu(bench: Bench, failing: int, driver: int, said: str) -> None:
    bench.machine(devices=0, driver=driver).failing["cudaGetDeviceCount"] = failing
    assert said in bench.refuses()


@pytest.mark.parametrize("device", ["cuda:1", "cuda:x", "cpu", ""])
def test_devices_that_are_not_there(bench: Bench, device: str) -> None:
    assert device in bench.refuses(device=device)


def test_the_second_gpu(bench: Bench, batch: np.ndarray, expected: Any) -> None:
    bench.machine(devices=2)
    assert np.array_equal(bench.open(device="cuda:1").run(batch[:1]), expected(batch[:1]))


def test_without_cuda_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, RUNTIME, None)
    with pytest.raises(MissingDependencyError, match=r"cuda-bindings.*edgetl\[tensorrt-rtx\]"):
        Cuda(0, "tensorrt-rtx")


def test_cuda_bindings_that_do_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ImportError('libcudart:\\n no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("edgetl.backends.tensorrt.cuda._MODULE", "broken")
    with pytest.raises(BackendError, match="installed but does not load: libcudart: no such file"):
        Cuda(0, "tensorrt")


def test_layer_times(bench: Bench, batch: np.ndarray, expected: Any) -> None:
    session = bench.open()
    session.run(batch[:1])
    unknown = ((), "unknown", "Pretend GPU", "unknown", 0.5)
    assert session.layer_times() == (LayerTime("conv0", *unknown), LayerTime("conv1", *unknown))
    bench.told.inspector = {"Layers": CONVOLUTIONS}
    told = ("CaskConvolution", "Pretend GPU", "int8", 0.5)
    assert session.layer_times() == tuple(LayerTime(name, (name,), *told) for name in ("conv0", "conv1"))
    assert bench.trt.contexts == 1
    assert np.array_equal(session.run(batch[:1]), expected(batch[:1]))


def layer(name: str, kind: str, dtype: str) -> dict[str, Any]:
    def tensor(suffix: str) -> dict[str, Any]:
        return {"Name": name + suffix, "Dimensions": [1, 8, 16, 16], "Format/Datatype": dtype}

    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [tensor(".in")],
        "Outputs": [tensor(".out")],
        "Weights": {"Type": dtype, "Count": 216},
        "TacticName": "",
        "Metadata": f"[ONNX Layer: {name}]",
    }


CONVOLUTIONS = [
    layer("conv0", "CaskConvolution", "Int8"),
    layer("conv1", "CaskConvolution", "Int8"),
    layer("conv2", "CaskConvolution", "Half"),
]


def test_precision_and_placement_are_the_loaded_engines_own(bench: Bench) -> None:
    (bench.engine.parent / "build.json").write_text(
        json.dumps({"demands": {"nodes": {f"conv{number}": "Conv" for number in range(3)}}})
    )
    bench.told.inspector = {"Layers": CONVOLUTIONS, "Bindings": ["image", "logits"]}
    session = bench.open()
    precision, placement = session.precision(), session.placement()
    assert (precision.asked, precision.used, precision.float_part) == ("int8", "int8", "f16")
    assert precision.layers == {"int8": 2, "f16": 1}
    assert (placement.device, placement.share_of_nodes, placement.share_of_time) == ("Pretend GPU", 1.0, 1.0)
    bench.told.inspector = {"Layers": [*CONVOLUTIONS, layer("{ForeignNode[a...b]}", "DLA", "Int8")]}
    placement = session.placement()
    assert placement.share_of_nodes == 0.75 and placement.share_of_time is None
    assert placement.elsewhere == ("{ForeignNode[a...b]}",)


def test_layers_that_only_the_builder_told(bench: Bench) -> None:
    from edgetl.backends.tensorrt.layers import LayerReport, parse_inspector

    session = bench.open()
    with pytest.raises(BackendError, match="names"):
        session.precision()
    recorded = bench.engine.parent / "layers.json"
    report = LayerReport(parse_inspector(json.dumps({"Layers": CONVOLUTIONS})))
    recorded.write_text(json.dumps(report.to_dict()))
    assert session.placement().share_of_nodes == 1.0
    assert session.precision().used == "unknown"  # whose nodes these are is not recorded
    recorded.write_text("{")
    with pytest.raises(BackendError, match=r"layers\.json is damaged"):
        session.precision()


def test_an_engine_for_a_deep_learning_accelerator(bench: Bench) -> None:
    place = {"device": "DLA 1", "share_of_nodes": 0.9, "share_of_time": None, "elsewhere": ["softmax"]}
    precision = {"asked": "int8", "used": "int8", "float_part": "f16", "executed": {"int8": 3}}
    facts = {"settings": {"dla_core": 1}, "placement": place, "precision": precision}
    (bench.engine.parent / "build.json").write_text(json.dumps({**facts, "summary": {}, "trtexec": ""}))
    session = bench.open()
    engine: Any = session._engine
    assert engine._dla_core == 1 and session.placement().to_dict() == place


def test_the_pretended_cuda_is_called_like_the_real_one() -> None:
    real = pytest.importorskip(RUNTIME, reason="cuda-bindings is not installed")
    functions = {name: value for name, value in vars(FakeCuda).items() if name.startswith("cuda")}
    for name, value in functions.items():
        if callable(value):
            given = list(inspect.signature(value).parameters)[1:]
            signature = getattr(real, name).__doc__.splitlines()[0]
            wanted = [
                part.split(":")[0].split()[-1] for part in signature[len(name) + 1 : -1].split(", ") if part
            ]
            assert signature.startswith(f"{name}(") and given == wanted, signature
        elif isinstance(value, int):
            assert getattr(real, name) == value
    for enumeration, member in (
        ("cudaDeviceAttr", "cudaDevAttrIntegrated"),
        ("cudaDeviceAttr", "cudaDevAttrCanMapHostMemory"),
        ("cudaMemcpyKind", "cudaMemcpyHostToDevice"),
        ("cudaMemcpyKind", "cudaMemcpyDeviceToHost"),
        ("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal"),
    ):
        assert hasattr(getattr(real, enumeration), member)
    for code, (name, text) in doubles._ERRORS.items():
        assert real.cudaGetErrorName(real.cudaError_t(code))[1].decode() == name
        assert real.cudaGetErrorString(real.cudaError_t(code))[1].decode().startswith(text)


def test_the_pretended_tensorrt_has_nothing_that_the_real_one_has_not() -> None:
    real = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    pretended = {
        "Runtime": doubles.Runtime,
        "ICudaEngine": doubles.ICudaEngine,
        "EngineInspector": doubles.EngineInspector,
        "IExecutionContext": doubles.RtxExecutionContext,
        "ILogger": FakeTensorRt.ILogger,
        "IProfiler": FakeTensorRt.IProfiler,
    }
    for name, kind in pretended.items():
        own = {member for member in dir(kind) if not member.startswith("_")}
        assert own <= set(dir(getattr(real, name))), name


DRIVERLESS = """
import sys
from pathlib import Path
from edgetl.backends.base import EngineSpec
from edgetl.backends.tensorrt.binding import load_binding
from edgetl.backends.tensorrt.builder import build_engine
from edgetl.backends.tensorrt.session import TensorRtSession
from edgetl.backends.tensorrt.settings import BuildSettings
from edgetl.errors import BackendError

binding = load_binding("tensorrt-rtx")
engine = Path(sys.argv[2])
engine.write_bytes(build_engine(binding, Path(sys.argv[1]), BuildSettings(1, ("8.9",))).engine)
spec = EngineSpec("tensorrt-rtx", engine.name, "f32", "f32", "cuda:0")
try:
    TensorRtSession(engine, spec, binding)
except BackendError as error:
    print("refused:", error)
"""


def test_the_real_library_without_a_driver(chain: Any, tmp_path: Path) -> None:
    """Where TensorRT's own runtime would end the process, edgetl says one line before it gets there."""
    real = pytest.importorskip(RUNTIME, reason="cuda-bindings is not installed")
    if importlib.util.find_spec("tensorrt_rtx") is None or real.cudaDriverGetVersion()[1]:
        pytest.skip("needs TensorRT for RTX, and a machine without an NVIDIA driver")
    done = subprocess.run(
        [sys.executable, "-c", DRIVERLESS, str(chain.model), str(tmp_path / "model.engine")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert line.startswith("refused: no NVIDIA driver is loaded here: ")
