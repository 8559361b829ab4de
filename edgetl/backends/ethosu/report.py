"""What Vela told, as edgetl's proof of an engine: placement, precision, layers and estimates."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgetl.backends.base import Placement, Precision, Proof
from edgetl.backends.ethosu.compiler import Compiled
from edgetl.backends.ethosu.settings import PACKAGED, VelaSettings
from edgetl.backends.ethosu.tables import Layer
from edgetl.quantity import Quantity

REPORT = "vela.json"

_ARITHMETIC = ("Conv2D", "DepthwiseConv2D", "TransposeConv2D", "FullyConnected", "BatchMatMul")
_MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")
_KIB, _MIB = 1 / 1024, 1 / 1024**2


def write_report(
    folder: Path, compiled: Compiled, floats: Sequence[str], settings: VelaSettings, version: str
) -> None:
    """Write what Vela told beside the engine; the same compilation gives the same bytes.

    Args:
        floats: operators of the model that compute in float, on the CPU.
        version: of Vela.
    """
    layers = compiled.layers
    facts = {
        "vela": version,
        "settings": settings.to_dict(),
        "summary": dict(compiled.summary),
        "engine_operators": list(compiled.operators),
        "layers": [layer.to_dict() for layer in layers],
        "share_on_npu": sum(layer.on_npu for layer in layers) / len(layers),
        "left": list(compiled.left),
        "arithmetic": _arithmetic(layers, floats),
        "estimate": estimate(compiled.summary, settings, version),
    }
    (folder / REPORT).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def read_proof(engine: Path, asked: str) -> Proof | None:
    """What Vela told when the engine was made; None where its report is not beside it."""
    sidecar = engine.parent / REPORT
    if not sidecar.is_file():
        return None
    facts = json.loads(sidecar.read_text())
    settings, arithmetic, left = facts["settings"], facts["arithmetic"], facts["left"]
    summary = {
        "arithmetic": arithmetic,
        "by_kind": dict(Counter(layer["runs_as"] for layer in facts["layers"])),
        "findings": [f"left to the CPU: {line}" for line in left],
        "build_command": _command(settings),
    }
    return Proof(
        Precision(asked, "int8", "f32" if "f32" in arithmetic else "int8", arithmetic),
        Placement(settings["accelerator"], facts["share_on_npu"], None, tuple(left)),
        summary,
        facts["estimate"],
    )


def estimate(summary: Mapping[str, str | float], settings: VelaSettings, version: str) -> dict[str, Any]:
    """Vela's figures for one inference, each a quantity of the kind "estimated".

    Of each memory that is used: ``*_kib``, the most it holds; ``*_traffic_mib``, what is read from it and
    written to it.
    """
    cycles, macs = float(summary["cycles_total"]), float(summary["nn_macs"])
    figures = {
        "latency_ms": 1e3 * float(summary["inference_time"]),
        "inferences_per_s": float(summary["inferences_per_second"]),
        "macs": macs,
        "mac_utilisation_share": macs / (cycles * settings.macs_per_cycle),
        "cycles": cycles,
        "npu_cycles": float(summary["cycles_npu"]),
    }
    for memory in _MEMORIES:
        traffic = float(summary[f"{memory}_total_bytes"])
        if traffic or float(summary[f"{memory}_memory_used"]):
            figures[f"{memory}_kib"] = float(summary[f"{memory}_memory_used"])
            figures[f"{memory}_traffic_mib"] = _MIB * traffic
            figures[f"{memory}_access_cycles"] = float(summary[f"cycles_{memory}_access"])
    figures["weights_kib"] = _KIB * float(summary["total_original_weights"])
    figures["encoded_weights_kib"] = _KIB * float(summary["total_npu_encoded_weights"])
    quantities = {name: Quantity(value, None, None, 1, "estimated") for name, value in figures.items()}
    note = (
        f"Vela's own model of an {settings.accelerator} at {float(summary['core_clock']) / 1e6:g} MHz, "
        f"system configuration {settings.system_config}, memory mode {settings.memory_mode}; it leaves out "
        "what runs on the CPU, and was not checked on silicon"
    )
    return {
        "source": f"Vela {version}",
        "note": note,
        **{name: quantity.to_dict() for name, quantity in quantities.items()},
    }


def _arithmetic(layers: Sequence[Layer], floats: Sequence[str]) -> dict[str, int]:
    """Convolutions and matrix products by precision; Vela accelerates 8-bit ones only."""
    real = {line.rpartition(" (")[0] for line in floats}
    # an activation that is fused into a convolution has a line of its own, named after it
    products = [
        layer for layer in layers if layer.operator in _ARITHMETIC and (layer.macs or not layer.on_npu)
    ]
    return dict(Counter("f32" if layer.output in real else "int8" for layer in products))


def _command(settings: Mapping[str, Any]) -> str:
    """The same compilation by Vela's own command line."""
    words = ["vela", "model.tflite", "--output-dir", ".", "--accelerator-config", settings["accelerator"]]
    words += ["--config", PACKAGED if settings["vela_config"] == PACKAGED else "own.ini"]
    words += ["--system-config", settings["system_config"], "--memory-mode", settings["memory_mode"]]
    if settings["sram_kib"]:
        words += ["--arena-cache-size", str(settings["sram_kib"] * 1024)]
    return shlex.join(words)
