"""Every attribute of TensorRT that edgetl uses exists in every version it supports: read, not run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import edgetl
from tests.backends.tensorrt.api_uses import Surface, attribute_uses, faults
from tests.backends.tensorrt.bindings import VERSIONS, module_environment

SCRIPT = Path(__file__).with_name("surface.py")


def recorded(module: str, environment: Mapping[str, str] | None = None) -> Surface:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), module], env=environment, capture_output=True, text=True, check=True
    )
    found: Surface = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def surfaces() -> Mapping[str, Surface]:
    found = {f"TensorRT {version}": recorded("tensorrt", module_environment(version)) for version in VERSIONS}
    if importlib.util.find_spec("tensorrt_rtx"):
        found["TensorRT for RTX"] = recorded("tensorrt_rtx")
    return found


def problems(source: str, surfaces: Mapping[str, Surface]) -> list[str]:
    return faults(attribute_uses(source, "snippet.py"), surfaces)


def test_every_attribute_exists_in_every_version(surfaces: Mapping[str, Surface]) -> None:
    root = Path(edgetl.__file__).parent / "backends" / "tensorrt"
    uses = [use for path in sorted(root.rglob("*.py")) for use in attribute_uses(path.read_text(), path.name)]
    assert len({use.attribute for use in uses}) > 40
    assert not (found := faults(uses, surfaces)), "\n".join(found)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("def f(trt, config): config.int8_calibrator = None", "trt.IBuilderConfig.int8_calibrator"),
        ("def f(trt): return trt.BuilderFlag.INT8", "trt.BuilderFlag.INT8"),
        ("def f(binding: Binding): return binding.trt.BuilderFlag.INT8", "trt.BuilderFlag.INT8"),
        ("def f(trt): return trt.IInt8EntropyCalibrator2", "trt.IInt8EntropyCalibrator2"),
        ("def f(trt, engine: Any): return engine.device_memory_size", "trt.ICudaEngine.device_memory_size"),
    ],
)
def test_what_11_has_no_more_is_reported(surfaces: Mapping[str, Surface], source: str, named: str) -> None:
    (line,) = problems(source, surfaces)
    assert line.startswith(f"snippet.py:1: {named} is not in ")
    assert "TensorRT 11.4.0.106" in line and "10.3.0" not in line and "10.16" not in line


def test_what_10_3_has_not_yet_is_reported(surfaces: Mapping[str, Surface]) -> None:
    (line,) = problems("def f(trt, parser): parser.set_builder_config(0)", surfaces)
    assert line == "snippet.py:1: trt.OnnxParser.set_builder_config is not in TensorRT 10.3.0"


def test_an_attribute_of_the_wrong_class_is_reported(surfaces: Mapping[str, Surface]) -> None:
    (line,) = problems("def f(trt):\n    self._context.create_network()", surfaces)
    assert line == "snippet.py:2: trt.IExecutionContext.create_network is in no version of TensorRT"


@pytest.mark.parametrize(
    "source",
    [
        "def f(trt, parser):\n if hasattr(parser, 'set_builder_config'): parser.set_builder_config(0)",
        "def f(trt):\n if not hasattr(trt, 'ComputeCapability'): return 0\n"
        " return trt.ComputeCapability.SM86",
        "def f(trt, config):\n"
        " if x and hasattr(config, 'num_compute_capabilities'): config.set_compute_capability(0)",
        "def f(trt, engine: Path): return engine.parent",
        "def f(tensor): return tensor.ByteSize()",
    ],
)
def test_guarded_uses_and_other_objects_are_no_fault(surfaces: Mapping[str, Surface], source: str) -> None:
    assert problems(source, surfaces) == []


def test_a_guard_for_what_never_existed_is_reported(surfaces: Mapping[str, Surface]) -> None:
    source = "def f(trt, parser):\n if hasattr(parser, 'set_config'): parser.set_config(0)"
    (line,) = problems(source, surfaces)
    assert line == "snippet.py:2: trt.OnnxParser.set_config is in no version of TensorRT"


def test_the_other_branch_is_not_guarded(surfaces: Mapping[str, Surface]) -> None:
    source = (
        "def f(trt, config):\n"
        " if hasattr(config, 'num_compute_capabilities'): pass\n"
        " else: config.set_compute_capability(0)"
    )
    assert problems(source, surfaces)
