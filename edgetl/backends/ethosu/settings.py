"""What Vela is told: an accelerator, a system configuration and a memory mode, all taken from a target."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.errors import InputError, MissingDependencyError
from edgetl.files import sha256_file

if TYPE_CHECKING:
    from edgetl.profiles import Target

ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
"""The configurations Arm licenses; the number is that of 8-bit multiply-accumulates in a clock cycle."""

PACKAGED = "Arm/vela.ini"
"""How Vela calls the configuration file in its own package."""

_SYSTEM, _MEMORY = "System_Config.", "Memory_Mode."
_KNOWN = {
    "accelerator": str,
    "system_config": str,
    "memory_mode": str,
    "vela_config": str,
    "sram_kib": int,
    "allow_cpu": bool,
}
_NEEDED = ("accelerator", "system_config", "memory_mode")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOST_BYTES = 1 << 20
_MOST_SRAM = 1 << 20
"""KiB; far more than any such chip has."""


@dataclass(frozen=True)
class VelaSettings:
    """Settings of one compilation.

    Attributes:
        accelerator: one of ``ACCELERATORS``.
        system_config: clock and memories around the accelerator, a section of the configuration file.
        memory_mode: which of them holds what, a section of the configuration file.
        config: the user's own configuration file; None for the one in Vela's package.
        sram_kib: what the model may take of the SRAM, KiB; None for what the memory mode says, which may be
            no limit at all.
        allow_cpu: operators the accelerator can't run go to the processor beside it, and are listed.
    """

    accelerator: str
    system_config: str
    memory_mode: str
    config: Path | None = None
    sram_kib: int | None = None
    allow_cpu: bool = False

    @classmethod
    def of(cls, target: Target) -> VelaSettings:
        """The settings a target asks for.

        Raises:
            InputError: if a setting is unknown, missing or not in the configuration file, or the target asks
                for another batch than one image or another precision than INT8.
        """
        given = _checked(target)
        config = _own_config(target, given["vela_config"]) if "vela_config" in given else None
        settings = cls(
            accelerator=given["accelerator"],
            system_config=given["system_config"],
            memory_mode=given["memory_mode"],
            config=config,
            sram_kib=given.get("sram_kib"),
            allow_cpu=given.get("allow_cpu", False),
        )
        sections = _sections(config or _packaged_config())
        _require_section(target, "system_config", settings.system_config, _SYSTEM, sections)
        _require_section(target, "memory_mode", settings.memory_mode, _MEMORY, sections)
        family = settings.accelerator.rpartition("-")[0].title().replace("-", "_")
        if config is None and not settings.system_config.startswith(f"{family}_"):
            raise InputError(
                f"target {target.name}: system_config {settings.system_config} is not one of the "
                f"{settings.accelerator}; choose from: {', '.join(_names(sections, _SYSTEM + family))}"
            )
        return settings

    @property
    def macs_per_cycle(self) -> int:
        return int(self.accelerator.rpartition("-")[2])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the user's file by its digest, so that its path does not matter."""
        return {
            "accelerator": self.accelerator,
            "system_config": self.system_config,
            "memory_mode": self.memory_mode,
            "vela_config": sha256_file(self.config) if self.config else PACKAGED,
            "sram_kib": self.sram_kib,
            "allow_cpu": self.allow_cpu,
        }


def _checked(target: Target) -> Mapping[str, Any]:
    """The target's build table with every value of its type."""
    given = target.build
    if unknown := sorted(set(given) - set(_KNOWN)):
        raise InputError(
            f"target {target.name}: Vela knows no build setting {unknown[0]!r}; known: {', '.join(_KNOWN)}"
        )
    if missing := [name for name in _NEEDED if name not in given]:
        raise InputError(f"target {target.name} has no build setting {missing[0]}, which Vela needs")
    for name, value in given.items():
        if type(value) is not _KNOWN[name]:
            kind = _KNOWN[name].__name__
            raise InputError(f"target {target.name}: build setting {name} must be {kind}, not {value!r}")
    if not 1 <= int(given.get("sram_kib", 1)) <= _MOST_SRAM:
        raise InputError(f"target {target.name}: sram_kib must be 1 to {_MOST_SRAM}, not {given['sram_kib']}")
    if given["accelerator"] not in ACCELERATORS:
        raise InputError(
            f"target {target.name}: unknown accelerator {given['accelerator']!r}; "
            f"known: {', '.join(ACCELERATORS)}"
        )
    if target.batch != 1:
        raise InputError(f"target {target.name}: an Ethos-U takes one image at a time, not {target.batch}")
    if target.precision != "int8":
        raise InputError(f"target {target.name}: an Ethos-U computes in int8, not in {target.precision}")
    return given


def _own_config(target: Target, given: str) -> Path:
    """The user's configuration file.

    Raises:
        InputError: if it can't be a configuration file.
    """
    path = Path(given).expanduser()
    label = f"target {target.name}: vela_config {given}"
    if not path.is_absolute():
        raise InputError(f"{label} must be an absolute path, or one that begins with ~")
    if path.suffix != ".ini":
        raise InputError(f"{label} must end in .ini, as Vela demands")
    if not path.is_file():
        raise InputError(f"{label} is no file")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{label} is larger than a configuration file can be (1 MiB)")
    return path


def _packaged_config() -> Path:
    """The configuration file in Vela's package, without importing Vela itself."""
    try:
        import ethosu
    except ImportError as error:
        raise MissingDependencyError("ethos-u-vela", "ethosu") from error
    # a package without a file of its own may lie in several folders
    found = [Path(folder) / "config_files" / PACKAGED for folder in ethosu.__path__]
    if not (files := [path for path in found if path.is_file()]):
        raise InputError(f"ethos-u-vela comes without {PACKAGED}; name your own file with vela_config")
    return files[0]


def _sections(config: Path) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(config.read_text(encoding="utf-8"))
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{config}: {' '.join(str(error).split())}") from error
    return parser.sections()


def _names(sections: list[str], prefix: str) -> list[str]:
    kind = prefix.partition(".")[0] + "."
    return [section.removeprefix(kind) for section in sections if section.startswith(prefix)]


def _require_section(target: Target, key: str, name: str, prefix: str, sections: list[str]) -> None:
    known = _names(sections, prefix)
    if name not in known or not _NAME.fullmatch(name):
        listed = ", ".join(known) or "none"
        raise InputError(
            f"target {target.name}: {key} {name!r} is not in the Vela configuration; known: {listed}"
        )
