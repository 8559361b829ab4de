"""What RKNN-Toolkit2 prints of a compiled model: each layer's type, place and cycles."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgetl.backends.base import EngineSpec, Placement, Precision, Proof, majority
from edgetl.errors import BackendError
from edgetl.quantity import Quantity

ENGINE = "model.rknn"
LAYERS = "layers.json"

_TABLE = "Network Layer Information Table"
_STAMP = re.compile(r"^[A-Z] RKNN: \[[\d:.]+\] ")
_ROW = re.compile(
    r"(?P<id>\d+)\s+(?P<op>\S+)\s+(?P<type>[A-Z]+\d*)\s+(?P<target>CPU|NPU|GPU)\s+\S+\s+\S+\s+"
    r"(?P<ddr>\d+)/(?P<npu>\d+)/(?P<total>\d+)\s+(?:[\d.]+%\s+)?[\d.]+(?:\s+(?P<name>\S.*?))?\s*$"
)
_TYPES = {"INT8": "int8", "FLOAT16": "f16", "FLOAT": "f32", "BFLOAT16": "bf16"}
_BOUNDS = ("InputOperator", "OutputOperator")
_ARITHMETIC = re.compile(r"(ex)?(Conv|Deconv|MatMul|Gemm)")
_CONVERSION = "exDataConvert"
_CLOCK_HZ = 1e9
_NOTE = "uncalibrated compiler cycle estimate at an assumed clock of 1 GHz; never checked on silicon"


@dataclass(frozen=True)
class Layer:
    """One row of the compiler's table.

    Attributes:
        name: operator and node, as in ``Conv:node_Conv_1``.
        precision: of its data, as in ``int8``.
        target: ``NPU`` or ``CPU``.
        cycles: estimated in all, data transfers included.
    """

    name: str
    op: str
    precision: str
    target: str
    cycles: int


def read_layers(report: str) -> list[Layer]:
    """The layers in what the compiler printed, without the model's input and output.

    Raises:
        BackendError: if there is no such table in it.
    """
    _, _, rest = report.partition(_TABLE)
    layers, in_table = [], False
    for line in rest.splitlines():
        found = _ROW.match(_STAMP.sub("", line))
        if found is None:
            if in_table:
                break
            continue
        in_table = True
        if found["op"] not in _BOUNDS:
            precision = _TYPES.get(found["type"], found["type"].lower())
            name = found["name"] or found["op"]
            layers.append(Layer(name, found["op"], precision, found["target"], int(found["total"])))
    if not layers:
        raise BackendError("RKNN-Toolkit2 printed no table of layers; cannot prove precision and placement")
    return layers


def precision_of(layers: Sequence[Layer], spec: EngineSpec) -> Precision:
    """By the layers that multiply; conversions between types are no computation."""
    counts = Counter(layer.precision for layer in layers if layer.op != _CONVERSION)
    products = Counter(layer.precision for layer in layers if _ARITHMETIC.match(layer.op))
    rest = sorted(name for name in counts if name != "int8")
    return Precision(
        spec.precision, majority(products), rest[0] if rest else spec.float_precision, dict(counts)
    )


def placement_of(layers: Sequence[Layer]) -> Placement:
    """Where the compiler puts each layer."""
    elsewhere = tuple(layer.name for layer in layers if layer.target != "NPU")
    return Placement("NPU", 1 - len(elsewhere) / len(layers), None, elsewhere)


def estimate_of(layers: Sequence[Layer], version: str) -> dict[str, Any]:
    """The compiler's cycles as a latency, and which operators it leaves out."""
    free = sorted({layer.op for layer in layers if layer.cycles == 0})
    note = f"{_NOTE}; no cycles for {', '.join(free)}" if free else _NOTE
    milliseconds = sum(layer.cycles for layer in layers) / _CLOCK_HZ * 1e3
    return {
        "source": f"RKNN-Toolkit2 {version}",
        "note": note,
        "latency_ms": Quantity(milliseconds, None, None, 1, "estimated").to_dict(),
    }


def write_report(folder: Path, layers: Sequence[Layer], input_shape: Sequence[int], version: str) -> None:
    """Keep beside the engine what a proof and a session on the board need."""
    facts = {
        "toolkit": version,
        "input": list(input_shape),
        "layers": [asdict(layer) for layer in layers],
    }
    (folder / LAYERS).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_report(engine: Path) -> Mapping[str, Any]:
    """What ``write_report`` kept beside an engine.

    Raises:
        BackendError: if it is not there or damaged.
    """
    try:
        facts: dict[str, Any] = json.loads(engine.with_name(LAYERS).read_text(encoding="utf-8"))
        facts["layers"] = [Layer(**row) for row in facts["layers"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{LAYERS} beside {engine.name} is missing or damaged; build it again") from error
    return facts


def read_proof(engine: Path, spec: EngineSpec) -> Proof:
    """Precision, placement and estimate of an engine, as its compiler told them."""
    facts = read_report(engine)
    layers: list[Layer] = facts["layers"]
    summary = {
        "source": f"RKNN-Toolkit2 {facts['toolkit']}",
        "operators": dict(Counter(layer.op for layer in layers).most_common()),
        "float": [layer.name for layer in layers if layer.precision != "int8" and layer.op != _CONVERSION],
    }
    return Proof(
        precision_of(layers, spec), placement_of(layers), summary, estimate_of(layers, facts["toolkit"])
    )
