"""A context compiled in a child, and what the provider reports of it."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.backends.qnn.soc import Soc
from edgetl.backends.worker import Worker
from edgetl.errors import BackendError

CONTEXT = "model_ctx.onnx"
FACTS = "qnn.json"
COMPILE_SECONDS = 300.0
"""Most that compiling may take: EfficientNet-Lite0 takes half a second, but some graphs never end."""

_CHILD = Path(__file__).with_name("child.py")
_BINARY = "model_ctx_qnn.bin"
_REFUSED = re.compile(
    r"Validation FAILED for \d+ nodes in \w+ \((?P<kind>[^)]*)\) :\n(?P<block>.*?)\n\s*\n", re.S
)
_MEMBER = re.compile(r"Operator type: (\S+) Node name: (.*?) Node index: \d+")
_REASON = re.compile(r"REASON : (.*)")
_LAYOUT_SUFFIX = re.compile(r"_token_\d+$")
_COMPILED = "QNNExecutionProvider"
_SHOWN = 3

_TYPES = {
    "0x408": "int8",
    "0x308": "int8",
    "0x416": "int16",
    "0x316": "int16",
    "0x232": "f16",  # float32 tensors are computed in half precision: the provider's default
    "0x216": "f16",
    "0x108": "uint8",
}
"""Precision by ``Qnn_DataType_t`` of the SDK's ``QnnTypes.h``."""


def toolchain(name: str = "qnn") -> Worker:
    """A child with the QNN provider."""
    return Worker(name, sys.executable, _CHILD)


def compile_context(model: Path, soc: Soc, batch: int, folder: Path, seconds: float = COMPILE_SECONDS) -> str:
    """Compile a model for an HTP, all of it, and write the context, its binary and the facts about them.

    Returns:
        Name of the context's ONNX.

    Raises:
        BackendError: if the provider fails, refuses nodes, or compiles for something else.
    """
    provider = soc.provider_options()
    context = folder.resolve() / CONTEXT
    context.unlink(missing_ok=True)  # onnxruntime refuses to write over one
    with tempfile.TemporaryDirectory(dir=folder) as notes:
        worker = toolchain()
        try:
            with worker:
                request = {"model": str(model.resolve()), "context": str(context), "notes": notes}
                worker.ask("build", timeout=seconds, provider=provider, batch=batch, **request)
                blob = worker.ask("metadata", timeout=seconds, engine=str(folder / _BINARY))
        except BackendError as error:
            explained = _explained(error, model, soc, batch, seconds)
            if explained is not error:
                worker.log.unlink(missing_ok=True)
            raise explained from error
        facts = {**blob, **_read_notes(Path(notes))}
    if (blob.get("soc_model"), blob.get("htp_arch")) != (soc.model, soc.arch):
        raise BackendError(
            f"QNN compiled {model.name} for soc_model {blob.get('soc_model')}, HTP {blob.get('htp_arch')}; "
            f"asked were {soc.model} and {soc.arch}"
        )
    if any((item["operator"], item["precision"]) == ("Cast", "uint8") for item in facts["operators"]):
        raise BackendError(f"{model.name} casts uint8 to float, which the HTP gets wrong; dequantize instead")
    (folder / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True))
    return CONTEXT


def _explained(error: BackendError, model: Path, soc: Soc, batch: int, seconds: float) -> BackendError:
    """The nodes that are refused, where it is that; the provider's own errors do not name them."""
    if "ONNXRuntimeError" not in str(error):
        return error
    try:
        lines = refused_nodes(model, soc, batch, seconds)
    except BackendError:
        return error
    if not lines:
        return error
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return BackendError(
        f"HTP {soc.arch} does not take all of {model.name}: {'; '.join(lines[:_SHOWN])}{more}"
    )


def refused_nodes(model: Path, soc: Soc, batch: int, seconds: float = COMPILE_SECONDS) -> list[str]:
    """A line for each node that the provider's validator refuses.

    Raises:
        BackendError: if it refuses none, and the model does not compile.
    """
    with toolchain() as worker:
        request = {"model": str(model.resolve()), "provider": soc.provider_options(), "batch": batch}
        error = worker.ask("refused", timeout=seconds, **request)["error"]
        lines = _refused(worker.log.read_text(errors="replace"))
        if error and not lines:
            raise BackendError(f"qnn: {error}")
    return lines


def _refused(log: str) -> list[str]:
    """Refused nodes by the provider's verbose log; each is visited before and after the change of layout."""
    found: dict[str, str] = {}
    for match in _REFUSED.finditer(log):
        kind, block = match["kind"], match["block"]
        if kind.startswith(_COMPILED):
            continue
        names = [name for member, name in _MEMBER.findall(block) if member == kind]
        name = _LAYOUT_SUFFIX.sub("", names[0]) if names else ""
        reason = _REASON.search(block)
        found.setdefault(f"{name} ({kind})", _short(reason[1] if reason else ""))
    return [f"{node}: {reason}" for node, reason in found.items()]


def _short(reason: str) -> str:
    first = reason.partition(".")[0].strip()
    return first.replace(" by QNN EP", "") or "no reason given"


def _read_notes(folder: Path) -> dict[str, Any]:
    """Where each node went and in which precision, from the provider's reports."""
    trace = json.loads((folder / "qnn_op_trace.json").read_text())
    summary = trace["summary"]
    operators: Counter[tuple[str, str]] = Counter()
    for path in sorted(folder.glob("*.json")):
        graph = json.loads(path.read_text()).get("graph", {})
        operators += _count(graph.get("nodes", {}), graph.get("tensors", {}))
    return {
        "onnx_nodes": summary["total_onnx_nodes"],
        "htp_nodes": summary["supported_nodes"],
        "elsewhere": sorted(node["node_name"] for node in trace["unsupported_nodes"]),
        "subgraphs": summary["qnn_subgraphs"],
        "operators": [
            {"operator": operator, "precision": precision, "count": count}
            for (operator, precision), count in sorted(operators.items())
        ],
    }


def _count(nodes: Mapping[str, Any], tensors: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    """QNN operators by the precision of their first operand."""
    found: Counter[tuple[str, str]] = Counter()
    for node in nodes.values():
        first = tensors.get(node["input_names"][0], {}) if node["input_names"] else {}
        found[node["type"], _TYPES.get(hex(first.get("data_type", 0)), "other")] += 1
    return found
