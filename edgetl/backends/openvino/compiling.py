"""A device's compiler in a process of its own: what kills it there is one error line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino

_NOT_EXECUTED = ("Parameter", "Result", "Constant")


def compile_ahead(ir: str, device: str, config: Mapping[str, str], out: str) -> dict[str, Any]:
    """Compile an IR for a device and write the blob.

    Returns:
        ``device``, the ``share`` of the executed nodes that it takes, and ``elsewhere``: the names of others.
    """
    core = openvino.Core()
    network = core.read_model(ir)
    taken = core.query_model(network, device, dict(config))
    nodes = [op.get_friendly_name() for op in network.get_ops() if op.get_type_name() not in _NOT_EXECUTED]
    elsewhere = [name for name in nodes if name not in taken]
    compiled = core.compile_model(network, device, dict(config))
    Path(out).write_bytes(compiled.export_model().getvalue())
    return {"device": device, "share": 1 - len(elsewhere) / len(nodes), "elsewhere": elsewhere}


HANDLERS = {"compile": compile_ahead}
