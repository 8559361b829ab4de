"""Runtimes leave no identifier in the user's home and have nobody to report to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from pathlib import Path
from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
name, model, device = sys.argv[1:]
get_backend(name).load(Path(model), EngineSpec(name, "probe_float.onnx", "f32", "f32", device))
"""


@pytest.mark.parametrize(("name", "device"), [("onnxruntime", "CPUExecutionProvider"), ("openvino", "CPU")])
def test_loading_an_engine_writes_nothing_into_the_home(name: str, device: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    from edgetl.roofline.probe_network import write_probe

    home = tmp_path / "home"
    home.mkdir()
    model = write_probe(tmp_path, 7).floating
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))}
    environment |= {"HOME": str(home), "PYTHONPATH": os.getcwd(), "CI": ""}  # noqa: PTH109
    subprocess.run([sys.executable, "-c", CODE, name, str(model), device], env=environment, check=True)
    assert [path for path in home.rglob("*") if path.is_file()] == []
