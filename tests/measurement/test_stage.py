from __future__ import annotations

from pathlib import Path

from edgetl.backends.base import EngineSpec, Precision
from edgetl.engines import Engine, Standing
from edgetl.measurement.stage import Speed, wrong_precision


def speed(used: str) -> Speed:
    precision = Precision("int8", used, "f32", {used: 3, "f32": 1}).to_dict()
    return Speed({}, {}, precision, {}, {}, "2026-01-01T00:00:00+00:00")


def test_another_precision_than_asked_is_said() -> None:
    spec = EngineSpec("openvino", "model.xml", "int8", "f32", "CPU")
    engine = Engine("x86-vnni", spec, Path(), "0", Path(), Standing("measured", True))
    assert wrong_precision(engine, speed("int8").precision) is None
    said = wrong_precision(engine, speed("bf16").precision)
    assert said == "asked for int8, the runtime computes mostly in bf16 (layers: 3 bf16, 1 f32)"
