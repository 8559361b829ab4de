"""Build settings of a target: known, of their type, in the configuration that Vela reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgetl.backends.ethosu.settings import ACCELERATORS, VelaSettings
from edgetl.errors import InputError
from edgetl.profiles import target as packaged_target
from edgetl.profiles import target_names

from .conftest import target

OWN = """[System_Config.My_Chip]
core_clock=250e6
axi0_port=Sram
axi1_port=OffChipFlash
Sram_clock_scale=1.0
OffChipFlash_clock_scale=0.125
[Memory_Mode.Mine]
const_mem_area=Axi1
arena_mem_area=Axi0
cache_mem_area=Axi0
"""


def own_config(folder: Path, text: str = OWN, name: str = "own.ini") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_every_accelerator_is_one_that_vela_knows() -> None:
    from ethosu.vela.architecture_features import Accelerator

    assert set(ACCELERATORS) == set(Accelerator.member_list())


@pytest.mark.parametrize("name", [name for name in target_names() if name.startswith("ethos-")])
def test_packaged_targets_are_whole_and_their_peak_follows_from_their_clock(name: str) -> None:
    from configparser import ConfigParser

    from edgetl.backends.ethosu.settings import _packaged_config

    found = packaged_target(name)
    settings = VelaSettings.of(found)
    config = ConfigParser()
    config.read(_packaged_config())
    clock = config.getfloat(f"System_Config.{settings.system_config}", "core_clock")
    assert settings.accelerator == name
    assert found.facts is not None
    assert found.facts.peak_int8_tops == pytest.approx(2 * settings.macs_per_cycle * clock / 1e12)


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        ({"optimise": "Size"}, "no build setting 'optimise'"),
        ({"accelerator": None}, "no build setting accelerator"),
        ({"accelerator": "ethos-u55-512"}, "unknown accelerator 'ethos-u55-512'; known: ethos-u55-32"),
        ({"accelerator": 7}, "must be str, not 7"),
        ({"sram_kib": 0}, "sram_kib must be 1 to"),
        ({"allow_cpu": 1}, "must be bool, not 1"),
        ({"system_config": "Ethos_U55_Middling"}, "not in the Vela configuration; known: Ethos_U55_Deep"),
        ({"memory_mode": "--help"}, "memory_mode '--help' is not in"),
        ({"system_config": "Ethos_U85_SYS_DRAM_Mid"}, "not one of the ethos-u55-128; choose from: Ethos_U55"),
        ({"vela_config": "own.ini"}, "must be an absolute path"),
        ({"vela_config": "/etc/passwd"}, "must end in .ini"),
        ({"vela_config": "/nowhere/own.ini"}, "is no file"),
    ],
)
def test_a_wrong_setting_is_one_line(build: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match="target u55") as error:
        VelaSettings.of(target(build))
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [{"batch": 2}, {"precision": "f16"}])
def test_only_single_images_in_integers(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="an Ethos-U"):
        VelaSettings.of(target(**changes))


def test_an_own_configuration_counts_by_its_content(tmp_path: Path) -> None:
    build = {"system_config": "My_Chip", "memory_mode": "Mine", "vela_config": own_config(tmp_path)}
    first = VelaSettings.of(target(build))
    again = {**build, "vela_config": own_config(tmp_path, name="copy.ini")}
    changed = {**build, "vela_config": own_config(tmp_path, OWN.replace("250e6", "300e6"), "changed.ini")}
    assert first.to_dict() == VelaSettings.of(target(again)).to_dict()
    assert first.to_dict() != VelaSettings.of(target(changed)).to_dict()


def test_a_damaged_own_configuration_is_one_line(tmp_path: Path) -> None:
    build = {"vela_config": own_config(tmp_path, "[half\n")}
    with pytest.raises(InputError) as error:
        VelaSettings.of(target(build))
    assert "\n" not in str(error.value)
