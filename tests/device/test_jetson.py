from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.device.environment import environment, fingerprint, pace
from edgetl.device.jetson import read_jetson

MODES = (
    "# < POWER_MODEL ID=9 NAME=NOT_THIS >\n< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
    "< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >"
)
BOARD = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
    "etc/nvpmodel.conf": MODES,
    "var/lib/nvpmodel/status": "pmode:0002 fmode:fanNull",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_an_orin_nano(tmp_path: Path) -> None:
    jetson = read_jetson(tree(tmp_path, BOARD))
    assert jetson is not None
    assert jetson.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (jetson.l4t, jetson.jetpack, jetson.tensorrt) == ("36.4.3", "6.2", "10.3")
    assert jetson.power_mode == "MAXN_SUPER"
    assert jetson.power_modes == {"0": "15W", "1": "25W", "2": "MAXN_SUPER"}
    assert jetson.warnings() == []


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack", "tensorrt"),
    [
        ("R35 (release), REVISION: 4.1", "35.4.1", "5", None),
        ("R36 (release), REVISION: 2.0", "36.2.0", "6.0", "8.6"),
        ("R36 (release), REVISION: 3.0", "36.3.0", "6.0", "8.6"),
        ("R36 (release), REVISION: 4.0", "36.4.0", "6.1", "10.3"),
        ("R36 (release), REVISION: 4.4", "36.4.4", "6.2.1", "10.3"),
        ("R36 (release), REVISION: 7.1", "36.7.1", "6", None),
        ("R38 (release), REVISION: 2.1", "38.2.1", "7.0", "10.13"),
        ("R38 (release), REVISION: 4.0", "38.4.0", "7.1", "10.13"),
        ("R39 (release), REVISION: 2.1", "39.2.1", "7.2.1", "10.16"),
        ("R44 (release), REVISION: 1.0", "44.1.0", None, None),
    ],
)
def test_releases(tmp_path: Path, release: str, l4t: str, jetpack: str | None, tensorrt: str | None) -> None:
    jetson = read_jetson(tree(tmp_path, {"etc/nv_tegra_release": f"# {release}, GCID: 1"}))
    assert jetson is not None
    assert (jetson.l4t, jetson.jetpack, jetson.tensorrt) == (l4t, jetpack, tensorrt)


def test_in_a_container_the_device_tree_tells(tmp_path: Path) -> None:
    files = {name: text for name, text in BOARD.items() if name.startswith("proc")}
    jetson = read_jetson(tree(tmp_path, files))
    assert jetson is not None and jetson.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (jetson.l4t, jetson.jetpack, jetson.power_mode, jetson.warnings()) == (None, None, None, [])


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/device-tree/model": "Raspberry Pi 5\0", "proc/device-tree/compatible": "raspberrypi,5\0"},
        {"etc/nv_tegra_release": "garbage"},
    ],
)
def test_no_jetson(tmp_path: Path, files: dict[str, str]) -> None:
    assert read_jetson(tree(tmp_path, files)) is None


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        (
            {"var/lib/nvpmodel/status": "pmode:0000"},
            ["power mode 15W caps the clocks; MAXN_SUPER does not: sudo nvpmodel -m 2"],
        ),
        ({"var/lib/nvpmodel/status": "pmode:0007"}, []),
        ({"var/lib/nvpmodel/status": "garbage"}, []),
        ({"etc/nvpmodel.conf": "< POWER_MODEL ID=2 NAME=7W >\n< POWER_MODEL ID=0 NAME=15W >"}, []),
    ],
)
def test_a_capped_power_mode_is_a_warning(
    tmp_path: Path, changes: dict[str, str], warnings: list[str]
) -> None:
    root = tree(tmp_path, {**BOARD, **changes})
    jetson = read_jetson(root)
    assert jetson is not None and jetson.warnings() == warnings
    assert [line for line in environment(root)["warnings"] if "power mode" in line] == warnings


def test_environment_tells_and_the_fingerprint_stays(tmp_path: Path) -> None:
    facts = environment(tree(tmp_path / "a", BOARD))
    assert facts["jetson"]["jetpack"] == "6.2" and facts["board"] == facts["jetson"]["model"]
    capped = environment(tree(tmp_path / "b", {**BOARD, "var/lib/nvpmodel/status": "pmode:0000"}))
    assert fingerprint(capped) == fingerprint(facts) and pace(capped) != pace(facts)
    assert environment(tmp_path / "none")["jetson"] is None
