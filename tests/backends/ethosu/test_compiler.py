"""Vela in its child process: what it makes, what it tells, how it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgetl.backends.ethosu import compiler
from edgetl.backends.ethosu.compiler import NPU_OPERATOR, compile_apart, read_complaints
from edgetl.backends.ethosu.settings import VelaSettings
from edgetl.errors import BackendError

from .conftest import target
from .test_settings import own_config

Make = Callable[..., Path]


@pytest.fixture
def settings() -> VelaSettings:
    return VelaSettings.of(target())


def test_the_whole_of_an_integer_model_goes_on_the_accelerator(
    handmade: Make, settings: VelaSettings
) -> None:
    made = compile_apart(handmade("RELU"), settings)
    assert made.engine[4:8] == b"TFL3"
    assert made.operators == (NPU_OPERATOR,)
    assert not made.left
    assert [layer.operator for layer in made.layers] == ["Conv2D", "Relu"]
    assert made.layers[0].macs == 16 * 16 * 4 * 27
    assert made.summary["accelerator_configuration"] == "Ethos_U55_128"
    assert float(made.summary["cycles_total"]) >= made.layers[0].macs / settings.macs_per_cycle


def test_the_same_model_gives_the_same_bytes(handmade: Make, settings: VelaSettings) -> None:
    model = handmade("RELU")
    assert compile_apart(model, settings) == compile_apart(model, settings)


def test_what_is_left_to_the_processor_is_named_with_velas_reason(
    handmade: Make, settings: VelaSettings
) -> None:
    made = compile_apart(handmade("CEIL", output="odd, 'name'"), settings)
    assert set(made.operators) == {NPU_OPERATOR, "CEIL"}
    assert made.left == ("Ceil (odd, 'name'): CEIL, Unsupported opType",)


def test_a_slower_chip_of_the_users_own_is_slower(handmade: Make, tmp_path: Path) -> None:
    model = handmade("RELU")
    build = {"system_config": "My_Chip", "memory_mode": "Mine", "vela_config": own_config(tmp_path)}
    own = compile_apart(model, VelaSettings.of(target(build)))
    packaged = compile_apart(model, VelaSettings.of(target()))
    assert own.summary["core_clock"] == 250e6
    assert float(own.summary["inference_time"]) > float(packaged.summary["inference_time"])


def test_a_configuration_that_vela_refuses_is_one_line(handmade: Make, tmp_path: Path) -> None:
    text = "[System_Config.A]\ncore_clock=1e9\naxi0_port=Dram\naxi1_port=Dram\n[Memory_Mode.B]\n"
    build = {"system_config": "A", "memory_mode": "B", "vela_config": own_config(tmp_path, text)}
    with pytest.raises(BackendError, match="Vela: Invalid configuration of") as error:
        compile_apart(handmade("RELU"), VelaSettings.of(target(build)))
    assert "\n" not in str(error.value)


def test_a_model_that_crashes_vela_is_one_line(handmade: Make, settings: VelaSettings) -> None:
    model = handmade("RELU")
    model.write_bytes(model.read_bytes()[:900])
    with pytest.raises(BackendError, match=r"Vela crashed \(SIGSEGV\)") as error:
        compile_apart(model, settings)
    assert "\n" not in str(error.value)


def test_something_else_than_a_model_is_one_line(tmp_path: Path, settings: VelaSettings) -> None:
    model = tmp_path / "model.tflite"
    model.write_text("no model at all")
    with pytest.raises(BackendError, match=r"Vela: .*No networks defined"):
        compile_apart(model, settings)


def test_a_compiler_that_hangs_is_stopped(
    handmade: Make, settings: VelaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "hangs.py"
    child.write_text("import time\nHANDLERS = {'compile': lambda **fields: time.sleep(60)}\n")
    monkeypatch.setattr(compiler, "_CHILD", child)
    with pytest.raises(BackendError, match="Vela gave no answer to 'compile' within 1 s"):
        compile_apart(handmade("RELU"), settings, timeout=1)


def test_tables_of_another_version_are_one_line(
    handmade: Make, settings: VelaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "other.py"
    child.write_text(
        "from pathlib import Path\n"
        "def compile_model(model, folder, arguments):\n"
        "    Path(folder, 'model_vela.tflite').write_bytes(b'')\n"
        "    Path(folder, 'model_summary_Ethos_U55_High_End_Embedded.csv').write_text('a\\n1\\n')\n"
        "    Path(folder, 'model_per-layer.csv').write_text('Operator,Cycles\\nConv,1\\n')\n"
        "    return {'operators': []}\n"
        "HANDLERS = {'compile': compile_model}\n"
    )
    monkeypatch.setattr(compiler, "_CHILD", child)
    with pytest.raises(BackendError, match="has other columns than Vela"):
        compile_apart(handmade("RELU"), settings)


def test_complaints_are_told_from_tables() -> None:
    warning = "\nWarning (supported operators) operator: {}, ofm: '{}'\n"
    named = f"{warning.format('A', 'x')}Reason: because\n{warning.format('B', 'y')}\n"
    printed = f"Scales must be positive.\nScales must be positive.\n{named}\n####\nPerformance\n"
    found, remarks = read_complaints(printed)
    assert found == {"x": "A, because", "y": "B, no reason told"}
    assert remarks == ("Scales must be positive",)
