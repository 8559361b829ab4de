from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgetl.backends import backend_names, get_backend
from edgetl.backends.base import EngineSpec, VendorTool
from edgetl.errors import BackendError, InputError
from edgetl.measurement.reconcile import _doubt, reconcile, tool_median
from edgetl.quantity import Quantity
from tests.conftest import Kit

IMAGE = np.zeros((4, 4, 3), np.uint8)
# as trtexec 10 prints it
SUMMARY = """\
[10/03/2024-10:47:59] [I] Throughput: 130.298 qps
[10/03/2024-10:47:59] [I] H2D Latency: min = 0.0065918 ms, max = 0.06 ms, mean = 0.01 ms, median = 0.008 ms
[10/03/2024-10:47:59] [I] Latency: min = 5.38672 ms, max = 13.3664 ms, mean = 7.6 ms, median = 7.16092 ms
[10/03/2024-10:47:59] [I] GPU Compute Time: min = 5.34 ms, max = 13.3 ms, mean = 7.5 ms, median = 7.14 ms
"""


def tool(program: str, pattern: str = r"Median: (\S+) ms") -> VendorTool:
    return VendorTool("a tool", (sys.executable, "-c", program), pattern, "1.0")


class Engine:
    """Takes 2 ms a run; ``log`` is told of each stretch of runs."""

    def __init__(self, log: Path | None = None) -> None:
        self.log = log

    def run(self, images: np.ndarray) -> np.ndarray:
        if self.log is not None and not self.log.read_text().endswith("o"):
            self.log.write_text(self.log.read_text() + "o")
        time.sleep(0.002)
        return np.zeros((len(images), 2), np.float32)

    run_many = None


def test_a_real_runtime_agrees_with_its_own_tool_in_kind(kit: Kit, batch: np.ndarray) -> None:
    backend = get_backend(kit.name)
    session = backend.load(kit.int8_engine, kit.spec)
    vendors = backend.vendor_tool(kit.int8_engine, kit.spec, 1.0)
    assert vendors is not None
    steps: list[tuple[int, int]] = []
    facts = reconcile(
        session, batch[0], vendors, rounds=1, seconds=0.3, progress=lambda *step: steps.append(step)
    )
    assert json.loads(json.dumps(facts)) == facts
    assert facts["tool"] == ("benchmark_app" if kit.name == "openvino" else "onnxruntime loop")
    assert facts["version"] == backend.available().versions[kit.name] or kit.name == "openvino"
    assert 0.001 < facts["theirs_ms"]["value"] < 1000
    assert facts["ratio"]["value"] == pytest.approx(facts["ours_ms"]["value"] / facts["theirs_ms"]["value"])
    assert facts["ratio"]["low"] is None
    assert steps == [(1, 2), (2, 2)]


def test_benchmark_app_is_told_threads_options_and_precision(kits: object) -> None:
    kit: Kit = kits("openvino")  # type: ignore[operator]
    spec = replace(kit.spec, threads=1, float_precision="f32", options={"ENABLE_CPU_PINNING": False})
    vendors = get_backend("openvino").vendor_tool(kit.float_engine, spec, 1.0)
    assert vendors is not None
    said = subprocess.run(vendors.command, capture_output=True, text=True, check=True).stdout
    assert "INFERENCE_NUM_THREADS: 1" in said
    assert "ENABLE_CPU_PINNING: False" in said
    assert "NUM_STREAMS: 1" in said
    assert "INFERENCE_PRECISION_HINT: <Type: 'float32'>" in said
    assert tool_median(replace(vendors, command=(sys.executable, "-c", f"print({said!r})")), 1) > 0


def test_the_onnxruntime_loop_takes_a_session_s_options(kits: object, tmp_path: Path) -> None:
    kit: Kit = kits("onnxruntime")  # type: ignore[operator]
    written = tmp_path / "optimized.onnx"
    options = {"session.intra_op.allow_spinning": False, "session.disable_quant_qdq": True}
    spec = replace(kit.spec, threads=1, options=options)
    vendors = get_backend("onnxruntime").vendor_tool(kit.int8_engine, spec, 0.1)
    assert vendors is not None
    job = json.loads(vendors.command[-1])
    assert job["threads"] == 1
    assert job["entries"] == {name: str(int(value)) for name, value in options.items()}
    program = vendors.command[2].replace(
        "provider = [", f"options.optimized_model_filepath = {str(written)!r}\nprovider = ["
    )
    subprocess.run([*vendors.command[:2], program, *vendors.command[3:]], check=True, capture_output=True)
    import onnx

    kinds = {node.op_type for node in onnx.load(written).graph.node}
    assert "DequantizeLinear" in kinds  # its fusion into integer operators was switched off
    assert not any("QLinear" in kind for kind in kinds)


def test_they_take_turns_and_the_order_changes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    # it takes its time, beside which starting it is little work for this process
    program = f"import time; time.sleep(0.2); open({str(log)!r}, 'a').write('t'); print('Median: 2.0 ms')"
    facts = reconcile(Engine(log), IMAGE, tool(program), rounds=3, seconds=0.05)
    assert log.read_text() == "ottot"  # consecutive runs are one o
    assert facts["n"] == facts["ratio"]["n"] == 3
    assert facts["ratio"]["low"] <= facts["ratio"]["value"] <= facts["ratio"]["high"]
    assert facts["ratio"]["value"] > 0.9
    assert facts["theirs_ms"]["value"] == pytest.approx(2.0)
    assert facts["command"].startswith(sys.executable)
    assert not any("of a core" in note for note in facts["notes"])


@pytest.mark.parametrize(
    ("low", "high", "doubted"), [(0.99, 1.03, False), (0.8, 1.3, True), (None, None, False)]
)
def test_a_ratio_that_is_another_in_each_round_is_doubted(
    low: float | None, high: float | None, doubted: bool
) -> None:
    notes = _doubt(Quantity(1.0, low, high, 4))
    assert bool(notes) == doubted and all("not quiet enough" in note for note in notes)


def test_a_process_that_is_busy_meanwhile_is_told() -> None:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        program = "import time; time.sleep(0.3); print('Median: 2.0 ms')"
        facts = reconcile(Engine(), IMAGE, tool(program), rounds=1, seconds=0.05)
    finally:
        stop.set()
        thread.join()
    assert "of a core while a tool ran" in facts["notes"][0]


def test_microseconds_are_told_from_milliseconds() -> None:
    pattern = r"Median:\s+([\d.]+) (ms|us)"
    assert tool_median(tool("print('Median:   820.50 us')", pattern), 1) == pytest.approx(0.8205)
    assert tool_median(tool("print('Median:   2.41 ms')", pattern), 1) == pytest.approx(2.41)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('x'); sys.exit('no such\\nengine file')", "status 1: engine file"),
        ("print('done'); raise SystemExit(3)", "status 3: done"),
        ("raise SystemExit(3)", "status 3: it said nothing"),
        ("print('all went well')", "no median latency; it ended with: all went well"),
        ("print('Median: 0.0 ms')", "too fast"),
    ],
)
def test_a_failing_tool_is_one_line_with_its_last_words(program: str, message: str) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        reconcile(Engine(), IMAGE, tool(program), rounds=1, seconds=0.02)
    assert str(caught.value).startswith("a tool ")
    assert "\n" not in str(caught.value)


def test_what_can_not_be_done_is_refused() -> None:
    absent = VendorTool("a tool", ("/no/such/program",), "", None)
    with pytest.raises(BackendError, match="a tool cannot be started: No such file"):
        tool_median(absent, 1)
    for rounds, seconds in ((0, 1.0), (1, 0.0)):
        with pytest.raises(InputError, match="reconcile"):
            reconcile(Engine(), IMAGE, absent, rounds=rounds, seconds=seconds)


def test_trtexec_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tmp_path / "model.engine"
    spec = EngineSpec("tensorrt", "model.engine", "int8", "f16", "cuda:1")
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = get_backend("tensorrt")
    if not Path("/usr/src/tensorrt/bin/trtexec").exists():
        assert backend.vendor_tool(engine, spec, 2.0) is None
    program = tmp_path / "trtexec"
    program.write_text(f"#!{sys.executable}\nprint({SUMMARY!r})\n")
    program.chmod(0o755)
    found = backend.vendor_tool(engine, spec, 2.4)
    assert found is not None
    assert found.command == (
        *(str(program), f"--loadEngine={engine}", "--device=1", "--exposeDMA"),
        *("--warmUp=500", "--duration=2", "--useCudaGraph"),
    )
    assert tool_median(found, 1) == pytest.approx(7.16092)
    (tmp_path / "build.json").write_text(json.dumps({"settings": {"dla_core": 0}}))
    found = backend.vendor_tool(engine, replace(spec, options={"cuda_graph": False}), 0.2)
    assert found is not None
    assert found.command[-2:] == ("--duration=1", "--useDLACore=0")


def test_other_backends_have_no_tool(tmp_path: Path) -> None:
    spec = EngineSpec("", "model", "int8", "f32", "")
    without = set(backend_names()) - {"openvino", "onnxruntime", "tensorrt"}
    assert {"tensorrt-rtx", "litert"} <= without
    assert all(get_backend(name).vendor_tool(tmp_path / "model", spec, 1.0) is None for name in without)
    assert os.environ["PATH"]
