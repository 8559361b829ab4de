"""Crashes, hangs, lies and noise of a toolkit that only pretends; the real one needs its own environment."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from edgetl.backends.rknn import toolkit as module
from edgetl.backends.rknn.toolkit import toolkit
from edgetl.conformance.network import Network
from edgetl.errors import BackendError

SOURCE = Path(module.__file__).parent
PRETENDER = """
import os, signal, sys, time

class RKNN:
    def __init__(self, verbose): print("I rknn-toolkit2 version: pretended")
    def config(self, target_platform, **normalise):
        self.soc = target_platform
        open("litter.onnx", "w").close()
        return 0
    def load_onnx(self, path): return 0
    def build(self, do_quantization, dataset):
        if self.soc == "crash": os.kill(os.getpid(), signal.SIGSEGV)
        if self.soc == "memory": os.kill(os.getpid(), signal.SIGKILL)
        if self.soc == "hang": time.sleep(60)
        if self.soc == "fails": return -1
        if self.soc == "raises":
            raise ValueError("Traceback (most recent call last):\\n  File \\"x.py\\", line 1\\n"
                             "ValueError: Conv(\'c\') is\\n      not supported!\\n")
        os.write(2, b"E RKNN: [12:27:06.710] Unkown op target: 0\\n")
        os.write(1, b"D RKNN: [12:27:06.711] the table\\n")
        return 0
    def export_rknn(self, path):
        with open(path, "wb") as stream: stream.write(b"RKNN")
        return 0
    def release(self): pass
"""


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The child's files beside a package called ``rknn``, answered by this Python."""
    folder = tmp_path / "child"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "rknn" / "api").mkdir(parents=True)
    (folder / "rknn" / "api" / "__init__.py").write_text(PRETENDER)
    monkeypatch.setattr(module, "_CHILD", folder / "child.py")
    monkeypatch.setattr(module, "installed", lambda name: Path(sys.executable))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def logs(folder: Path) -> list[Path]:
    return list(folder.glob("edgetl-rknn-*"))


def test_chatter_is_no_error(pretended: Path, tiny: Network) -> None:
    with toolkit() as child:
        answer = child.build(tiny.model, "fine", pretended / "model.rknn")
    assert "the table" in answer["report"]
    assert answer["input"] == [1, 32, 32, 3]
    assert (pretended / "model.rknn").read_bytes() == b"RKNN"
    assert not logs(pretended), "neither a log nor what the toolkit litters is left"


@pytest.mark.parametrize(
    ("soc", "said"),
    [
        ("crash", r"RKNN-Toolkit2 crashed \(SIGSEGV\) in 'build'"),
        ("memory", r"RKNN-Toolkit2 was killed, by somebody or because memory ran out"),
        ("fails", r"RKNN-Toolkit2: could not build the model \(status -1\)"),
        ("raises", r"RKNN-Toolkit2: Conv\('c'\) is not supported!; log: \S+$"),
    ],
)
def test_failures_are_one_line(pretended: Path, tiny: Network, soc: str, said: str) -> None:
    with pytest.raises(BackendError, match=said) as caught, toolkit() as child:
        child.build(tiny.model, soc, pretended / "model.rknn")
    assert "\n" not in str(caught.value)
    assert not (pretended / "model.rknn").exists()
    assert [path.suffix for path in logs(pretended)] == [".log"], "the log is kept, nothing else"


def test_hang_is_stopped(pretended: Path, tiny: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMPILE_SECONDS", 3.0)
    with pytest.raises(BackendError, match="no answer to 'build' within 3 s"), toolkit() as child:
        child.build(tiny.model, "hang", pretended / "model.rknn")


def test_refusal_is_an_answer_and_a_crash_is_none(pretended: Path, tiny: Network) -> None:
    with toolkit() as child:
        assert child.check(tiny.model, "fine", int8=True) is None
        assert child.check(tiny.model, "raises", int8=True) == "Conv('c') is not supported!"
    with pytest.raises(BackendError, match="crashed"), toolkit() as child:
        child.check(tiny.model, "crash", int8=False)


def test_torch_is_left_out_but_not_imitated() -> None:
    from edgetl.backends.rknn.no_torch import leave_out_torch

    before = {name: sys.modules.get(name) for name in ("torch", "torch.nn")}
    try:
        leave_out_torch()
        torch = sys.modules["torch"]
        assert torch.no_grad()(len) is len
        assert isinstance(torch.nn.Module, type)
        with pytest.raises(RuntimeError, match=r"asked for torch\.jit, which is not installed"):
            _ = torch.jit
    finally:
        for name, former in before.items():
            if former is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = former
