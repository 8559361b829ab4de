"""The compiled context in QNN's emulation of the HTP, and children that die or never end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgetl import profiles
from edgetl.backends.base import Session
from edgetl.backends.qnn import QnnBackend
from edgetl.backends.qnn.compiler import compile_context
from edgetl.backends.qnn.soc import Soc
from edgetl.errors import BackendError


@pytest.fixture(scope="module")
def session(compiled: Any) -> Iterator[Session]:
    session = compiled.emulate()
    yield session
    session.close()


def test_agrees_with_onnxruntime(session: Session, compiled: Any, batch: np.ndarray) -> None:
    exact = onnxruntime.InferenceSession(str(compiled.portable))
    expected = np.concatenate([exact.run(None, {"images": image[None]})[0] for image in batch])
    found = np.concatenate([session.run(image[None]) for image in batch])
    assert found.shape == (12, 3) and found.dtype == np.float32
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.999
    assert (expected.argmax(1) == found.argmax(1)).all()


def test_loaded_again_it_gives_the_same(session: Session, compiled: Any, batch: np.ndarray) -> None:
    again = compiled.emulate(throughput=True)
    outputs: dict[int, np.ndarray] = {}
    again.run_many((image[None] for image in batch), outputs.__setitem__)
    assert sorted(outputs) == list(range(12))
    for index, image in enumerate(batch):
        assert np.array_equal(outputs[index], session.run(image[None]))
    again.close()
    with pytest.raises(BackendError, match="was closed"):
        again.run(batch[:1])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process")
def test_each_child_keeps_to_a_core_of_its_own(compiled: Any) -> None:
    before, cores = _children(), sorted(os.sched_getaffinity(0))
    session = compiled.emulate(throughput=True)
    kept = [os.sched_getaffinity(child) for child in _children() - before]
    assert sorted(core for found in kept for core in found) == cores[:8]
    assert {len(found) for found in kept} == {1} and os.sched_getaffinity(0) == set(cores)
    session.close()


def test_fixed_batch(session: Session, batch: np.ndarray) -> None:
    with pytest.raises(BackendError, match="fixed batch of 1, got 5 images"):
        session.run(batch[:5])


def test_an_emulation_is_no_device(qnn: QnnBackend, compiled: Any) -> None:
    simulator = qnn.simulator(compiled.spec)
    assert simulator == replace(compiled.spec, device="emulation")
    with pytest.raises(BackendError, match="runs on a Hexagon NPU, and there is none here"):
        qnn.load(compiled.engine, compiled.spec)
    assert qnn.stand_in(compiled.spec).backend == "onnxruntime"


def test_killed_while_it_runs(compiled: Any, batch: np.ndarray, logs: Path) -> None:
    before = _children()
    session = compiled.emulate()
    session.run(batch[:1])
    (child,) = _children() - before
    os.kill(child, signal.SIGKILL)
    with pytest.raises(BackendError, match="HTP emulation was killed, by somebody") as caught:
        session.run(batch[:1])
    assert "\n" not in str(caught.value)
    with pytest.raises(BackendError):
        session.run(batch[:1])
    session.close()


@pytest.mark.parametrize("once", ["", "libQnnHtp"])
def test_killed_while_it_compiles(once: str, compiled: Any, tmp_path: Path, logs: Path) -> None:
    """Killed as soon as it is there, and as soon as it has loaded the HTP's compiler."""
    before = _children()

    def kill() -> None:
        while not (found := _children() - before):
            time.sleep(0.001)
        child = found.pop()
        while once not in Path(f"/proc/{child}/maps").read_text():
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(BackendError, match="qnn was killed, by somebody") as caught:
        compile_context(compiled.portable, Soc.of(compiled.target), 1, tmp_path)
    killer.join()
    assert "\n" not in str(caught.value) and _children() == before
    assert list(logs.glob("*.log")), "the log that the error names is kept"


def test_a_compilation_without_end(compiled: Any, tmp_path: Path, logs: Path) -> None:
    before = _children()
    with pytest.raises(BackendError, match=r"qnn gave no answer to 'build' within .* s and was stopped"):
        compile_context(compiled.portable, Soc.of(compiled.target), 1, tmp_path, seconds=0.05)
    assert _children() == before


def test_a_damaged_context(compiled: Any, tmp_path: Path, logs: Path, qnn: QnnBackend) -> None:
    for path in compiled.engine.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model_ctx_qnn.bin").write_bytes(b"nothing")
    simulator = qnn.simulator(compiled.spec)
    assert simulator is not None
    with pytest.raises(BackendError) as caught:
        qnn.load(tmp_path / compiled.engine.name, simulator)
    assert "\n" not in str(caught.value)
    (tmp_path / "qnn.json").unlink()
    with pytest.raises(BackendError, match=r"qnn.json beside model_ctx.onnx is missing"):
        qnn.load(tmp_path / compiled.engine.name, simulator)


def test_not_available_without_the_package(monkeypatch: pytest.MonkeyPatch, compiled: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = QnnBackend().available()
    assert not found.ok and found.reason is not None and "onnxruntime-qnn" in found.reason
    with pytest.raises(Exception, match=r"edgetl\[qnn\]"):
        QnnBackend().build(compiled.portable, profiles.target("sm8650"), compiled.engine.parent)


def _children() -> set[int]:
    """Processes that this one has started for QNN and that still run."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_text()
        except OSError:
            continue
        if int(status[1]) == os.getpid() and status[0] != "Z" and "qnn/child.py" in command:
            found.add(int(path.name))
    return found
