"""Which Jetson this is: its board, its JetPack, its power mode. Read from files; nothing here raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgetl.device.read import read_text

# Jetson Linux (L4T) release: JetPack, and the TensorRT it brings. Source: NVIDIA's JetPack archive and
# the release notes of each JetPack, as of September 2026. A release that is not listed is known by its
# branch only, because a guessed version would be wrong about somebody's board.
_JETPACKS = {
    "36.2": ("6.0", "8.6"),
    "36.3": ("6.0", "8.6"),
    "36.4.0": ("6.1", "10.3"),
    "36.4.3": ("6.2", "10.3"),
    "36.4.4": ("6.2.1", "10.3"),
    "36.4.7": ("6.2.1", "10.3"),
    "36.5.0": ("6.2.2", "10.3"),
    "36.5.2": ("6.2.3", "10.3"),
    "38.2": ("7.0", "10.13"),
    "38.4": ("7.1", "10.13"),
    "39.2.0": ("7.2", "10.16"),
    "39.2.1": ("7.2.1", "10.16"),
}
_BRANCHES = {"35": "5", "36": "6", "38": "7", "39": "7"}
_RELEASE = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
_MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", re.MULTILINE)
_UNCAPPED = "MAXN"


@dataclass(frozen=True)
class Jetson:
    """A Jetson board; None is what it does not tell.

    Attributes:
        model: of the board, as in ``NVIDIA Jetson Orin Nano Developer Kit``.
        l4t: release of Jetson Linux, as in ``36.4.3``.
        jetpack: the JetPack it belongs to, as in ``6.2``, or ``6`` where only the branch is known.
        tensorrt: version of TensorRT that JetPack brings, as in ``10.3``.
        power_mode: name of the mode it is in, as in ``15W``.
        power_modes: names of the modes it offers by their numbers.
    """

    model: str | None
    l4t: str | None
    jetpack: str | None
    tensorrt: str | None
    power_mode: str | None
    power_modes: Mapping[str, str]

    def warnings(self) -> list[str]:
        """Why it is not fit to measure on."""
        uncapped = next((item for item in self.power_modes.items() if item[1].startswith(_UNCAPPED)), None)
        if self.power_mode is None or uncapped is None or self.power_mode.startswith(_UNCAPPED):
            return []
        number, name = uncapped
        return [f"power mode {self.power_mode} caps the clocks; {name} does not: sudo nvpmodel -m {number}"]


def read_jetson(root: Path = Path("/")) -> Jetson | None:
    """The Jetson this machine is; None if it is none.

    Args:
        root: the folder that holds ``proc``, ``etc`` and ``var``.
    """
    tree = root / "proc/device-tree"
    release = _RELEASE.search(read_text(root / "etc/nv_tegra_release"))
    if release is None and "nvidia,tegra" not in read_text(tree / "compatible"):
        return None
    l4t = ".".join(release.groups()) if release else None
    jetpack, tensorrt = _jetpack(l4t or "")
    modes = dict(_MODE.findall(read_text(root / "etc/nvpmodel.conf")))
    return Jetson(
        model=read_text(tree / "model").rstrip("\0") or None,
        l4t=l4t,
        jetpack=jetpack,
        tensorrt=tensorrt,
        power_mode=_power_mode(read_text(root / "var/lib/nvpmodel/status"), modes),
        power_modes=modes,
    )


def _jetpack(l4t: str) -> tuple[str | None, str | None]:
    branch, _, revision = l4t.partition(".")
    minor = f"{branch}.{revision.split('.')[0]}"
    return _JETPACKS.get(l4t) or _JETPACKS.get(minor) or (_BRANCHES.get(branch), None)


def _power_mode(status: str, modes: Mapping[str, str]) -> str | None:
    """The mode that ``pmode:0002`` stands for."""
    number = re.search(r"pmode:(\d+)", status)
    return modes.get(str(int(number[1]))) if number else None
