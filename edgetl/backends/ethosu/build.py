"""From a QDQ ONNX to the files of one engine: the integer model, what Vela makes of it, and a C array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.backends.ethosu.compiler import NPU_OPERATOR, Compiled, compile_apart
from edgetl.backends.ethosu.firmware import write_firmware
from edgetl.backends.ethosu.integer import read_integer
from edgetl.backends.ethosu.report import write_report
from edgetl.backends.ethosu.settings import VelaSettings
from edgetl.errors import BackendError

if TYPE_CHECKING:
    from edgetl.profiles import Target

ENGINE = "model_vela.tflite"
"""What Vela makes of ``INTEGER``, under the name its own command line gives."""

INTEGER = "model.tflite"
"""The integer model before Vela, which LiteRT runs too."""

_FEW = 5


def make_engine(model: Path, target: Target, folder: Path, version: str) -> str:
    """Compile a QDQ ONNX into ``folder``; equal models, settings and versions give equal bytes.

    Args:
        version: of Vela.

    Returns:
        Name of the engine's file.

    Raises:
        BackendError: if a part of the model computes in float, or if Vela refuses it, fails, takes more
            memory than the target allows, or leaves operators to the CPU that should not go there.
    """
    import onnx

    from edgetl.backends.litert.convert import convert
    from edgetl.contract.onnx_prefix import read_labels

    settings = VelaSettings.of(target)
    integer = folder / INTEGER
    integer.write_bytes(convert(model, ends="integers"))
    read = read_integer(integer)
    if read.floats and not settings.allow_cpu:
        raise BackendError(
            f"{len(read.floats)} operators compute in float, which an Ethos-U does not: {few(read.floats)}; "
            "take them out of keep_float"
        )
    compiled = compile_apart(integer, settings)
    _require_placement(compiled, settings)
    _require_memory(compiled, settings)
    about = (
        f"{ENGINE} for {settings.accelerator}, compiled by Vela {version} with system configuration "
        f"{settings.system_config} and memory mode {settings.memory_mode}"
    )
    labels = read_labels(onnx.load(model, load_external_data=False)) or ()
    (folder / ENGINE).write_bytes(compiled.engine)
    write_firmware(folder, compiled.engine, read.input, read.output, labels, about)
    write_report(folder, compiled, read.floats, settings, version)
    return ENGINE


def _require_placement(compiled: Compiled, settings: VelaSettings) -> None:
    if NPU_OPERATOR not in compiled.operators:
        raise BackendError(
            f"Vela put nothing of this model on the {settings.accelerator}: {few(compiled.left)}"
        )
    if compiled.left and not settings.allow_cpu:
        raise BackendError(
            f"Vela leaves {len(compiled.left)} of {len(compiled.layers)} operators to the CPU: "
            f"{few(compiled.left)}; set allow_cpu = true in the target's build table if that is wanted"
        )


def _require_memory(compiled: Compiled, settings: VelaSettings) -> None:
    """Vela takes the limit for a wish."""
    used = float(compiled.summary["sram_memory_used"])
    if settings.sram_kib and used > settings.sram_kib:
        raise BackendError(
            f"Vela needs {used:.0f} KiB of SRAM for this model, and sram_kib in the target's build table "
            f"allows {settings.sram_kib}; take a smaller backbone or image"
        )


def few(lines: Sequence[str]) -> str:
    """The first lines, and how many more there are."""
    rest = f" and {len(lines) - _FEW} more" if len(lines) > _FEW else ""
    return "; ".join(lines[:_FEW]) + rest
