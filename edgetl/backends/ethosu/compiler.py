"""One compilation: Vela in a child process, and what it tells of it."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgetl.backends.ethosu.settings import PACKAGED, VelaSettings
from edgetl.backends.ethosu.tables import Layer, read_layers, read_summary
from edgetl.backends.worker import Worker
from edgetl.errors import BackendError

NPU_OPERATOR = "ethos-u"
"""Custom operator of a compiled model; it holds all that runs on the accelerator."""

_CHILD = Path(__file__).with_name("vela_child.py")
_SECONDS = 900.0
"""Vela takes seconds for the networks that fit such a device; what takes this long hangs."""
_REFUSAL = re.compile(
    r"Warning \(supported operators\) operator: (.+), ofm: '(.*)'\s*\n((?:Reason: .*(?:\n|$))?)"
)


@dataclass(frozen=True)
class Compiled:
    """What Vela made of a model.

    Attributes:
        engine: bytes of the compiled ``.tflite``.
        summary: Vela's summary table: text or numbers by column.
        layers: one for each operator that Vela scheduled or left to the processor.
        refusals: why an operator was left to the processor, by the name of its output.
        remarks: what else Vela complained of, of no operator by name.
        operators: of the compiled model; all but ``NPU_OPERATOR`` run on the processor.
    """

    engine: bytes
    summary: Mapping[str, str | float]
    layers: tuple[Layer, ...]
    refusals: Mapping[str, str]
    remarks: tuple[str, ...]
    operators: tuple[str, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """One line for each operator that is not on the accelerator."""
        general = " ".join(self.remarks) or "Vela tells no reason"
        lines = [
            f"{layer.operator} ({layer.output}): {self.refusals.get(layer.output, general)}"
            for layer in self.layers
            if not layer.on_npu
        ]
        beside = [name for name in self.operators if name != NPU_OPERATOR]
        return tuple(lines if len(lines) >= len(beside) else beside)


def compile_apart(model: Path, settings: VelaSettings, *, timeout: float = _SECONDS) -> Compiled:
    """Compile an integer ``.tflite`` model for an accelerator.

    Args:
        timeout: seconds the compiler may take.

    Raises:
        BackendError: if Vela refuses the model, crashes, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="edgetl-vela-") as work:
        folder = Path(work)
        source = folder / "model.tflite"
        shutil.copyfile(model, source)
        with Worker("Vela", sys.executable, _CHILD) as child:
            answer = child.ask(
                "compile",
                timeout=timeout,
                model=str(source),
                folder=str(folder),
                arguments=_arguments(settings, folder),
            )
            printed = child.log.read_text(encoding="utf-8", errors="replace")
        refusals, remarks = read_complaints(printed)
        try:
            return Compiled(
                (folder / "model_vela.tflite").read_bytes(),
                read_summary(folder / f"model_summary_{settings.system_config}.csv"),
                read_layers(folder / "model_per-layer.csv"),
                refusals,
                remarks,
                tuple(answer["operators"]),
            )
        except (OSError, ValueError) as error:
            raise BackendError(f"Vela left tables of {model.name} that can't be read: {error}") from error


def read_complaints(printed: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Why operators were left to the processor, by output (``CEIL, Unsupported opType``), and other remarks.

    Args:
        printed: what Vela printed; its tables begin with a line of ``#``.
    """
    head = printed.partition("\n#")[0]
    found = {
        output: f"{operator}, {reason.removeprefix('Reason: ').strip() or 'no reason told'}"
        for operator, output, reason in _REFUSAL.findall(head)
    }
    rest = [line.strip(" .") for line in _REFUSAL.sub("", head).splitlines() if line.strip()]
    return found, tuple(dict.fromkeys(rest))


def _arguments(settings: VelaSettings, folder: Path) -> list[str]:
    """Vela's options; the user's file is copied, so that what was checked is what is used."""
    config = PACKAGED
    if settings.config:
        own = folder / "own.ini"
        shutil.copyfile(settings.config, own)
        config = str(own)
    limit = [f"--arena-cache-size={settings.sram_kib * 1024}"] if settings.sram_kib else []
    return [
        *limit,
        f"--accelerator-config={settings.accelerator}",
        f"--system-config={settings.system_config}",
        f"--memory-mode={settings.memory_mode}",
        f"--config={config}",
        "--verbose-performance",
        "--verbose-cycle-estimate",
    ]
