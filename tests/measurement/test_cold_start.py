from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import edgetl
from edgetl.backends.base import EngineSpec
from edgetl.errors import BackendError, InputError
from edgetl.measurement.cold_start import cold_start
from edgetl.measurement.repeats import over_repeats
from tests.conftest import Kit

SHAPE = [1, 32, 32, 3]
FIGURES = ("import_ms", "load_ms", "first_inference_ms")
MAIN = """
import json, sys
from pathlib import Path
from edgetl.backends.base import EngineSpec
from edgetl.measurement.cold_start import cold_start
job = json.loads(sys.argv[1])
print(json.dumps(cold_start(Path(job["engine"]), EngineSpec(**job["spec"]), job["shape"], 1)))
"""


def test_three_processes_give_intervals(kit: Kit) -> None:
    found = cold_start(kit.int8_engine, kit.spec, SHAPE, repeats=3)
    for name in FIGURES:
        assert found[name]["n"] == 3
        assert 0 < found[name]["low"] < found[name]["value"] < found[name]["high"]
        assert found[name]["kind"] == "measured"
    assert found["import_ms"]["value"] > 20  # NumPy and a runtime
    assert "page cache" in found["note"]


def test_it_works_from_an_archive_that_holds_edgetl(kits: object, tmp_path: Path) -> None:
    kit: Kit = kits("onnxruntime")  # type: ignore[operator]
    package = Path(edgetl.__file__).parent
    archive = tmp_path / "worker.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", MAIN)
        for path in package.rglob("*.py"):
            text = path.read_text()
            if path.name == "cold_start.py":  # so that a child that took it from elsewhere is found out
                text = text.replace('"import_ms": (ready', '"import_ms": 1e6 + (ready')
            file.writestr(f"edgetl/{path.relative_to(package).as_posix()}", text)
    job = {"engine": str(kit.int8_engine), "spec": asdict(kit.spec), "shape": SHAPE}
    done = subprocess.run(
        [sys.executable, archive.name, json.dumps(job)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["load_ms"]["low"] is None
    assert found["import_ms"]["value"] > 1e6


def test_nothing_is_imported_from_the_working_folder(
    kits: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit: Kit = kits("onnxruntime")  # type: ignore[operator]
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the working folder')")
    monkeypatch.chdir(tmp_path)
    assert cold_start(kit.int8_engine, kit.spec, SHAPE, repeats=1)["load_ms"]["value"] > 0


def test_what_the_child_says_is_one_error_line(tmp_path: Path, kits: object) -> None:
    kit: Kit = kits("onnxruntime")  # type: ignore[operator]
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"cold start: cannot load model\.onnx") as caught:
        cold_start(broken, kit.spec, SHAPE)
    assert "\n" not in str(caught.value)
    with pytest.raises(BackendError, match="unknown backend 'none'"):
        cold_start(broken, replace(kit.spec, backend="none"), SHAPE)
    with pytest.raises(BackendError, match=r"the process failed: .*ValueError"):
        cold_start(kit.int8_engine, kit.spec, [-1, 32, 32, 3])
    with pytest.raises(BackendError, match=r"not done after 0\.01 s"):
        cold_start(kit.int8_engine, kit.spec, SHAPE, timeout=0.01)
    with pytest.raises(InputError):
        cold_start(kit.int8_engine, EngineSpec("", "", "", "", ""), SHAPE, repeats=0)


def test_repeats_are_summed_up_so_that_ratios_pair() -> None:
    assert over_repeats([4.0]).low is None
    assert over_repeats([4.0, 1.0]).value == pytest.approx(2)
    assert over_repeats([4.0, 1.0]).low is None
    ours, theirs = over_repeats([1.0, 2.0, 3.0]), over_repeats([2.0, 3.0, 5.0])
    ratio = over_repeats([1 / 2, 2 / 3, 3 / 5])
    assert ratio.value == pytest.approx(ours.value / theirs.value)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < ratio.value < ratio.high
    assert ours.low is not None
    assert ours.high is not None
    assert ratio.high / ratio.low < ours.high / ours.low / 2  # what rounds share cancels out
