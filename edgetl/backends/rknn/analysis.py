"""The toolkit's error analysis as a table for the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgetl.errors import BackendError
from edgetl.quantity import Quantity

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_ROW = re.compile(r"^\[(\w+)\] (\S+)\s+(-?[\d.]+) \| \S+\s+(-?[\d.]+) \| \S+\s*$", re.MULTILINE)


def read_analysis(table: str, cosine: float, version: str, images: int) -> Mapping[str, Any]:
    """JSON-ready: ``layers`` in the network's order with the cosine of the INT8 output to the float one.

    ``entire`` is with all errors before the layer, ``single`` with its own only.

    Args:
        table: as the toolkit writes it; the first image's.
        cosine: of the twin's logits to those of the QDQ model, in the simulator, over all images.

    Raises:
        BackendError: if there is no such table.
    """
    rows = _ROW.findall(_COLOUR.sub("", table))
    if not rows:
        raise BackendError("RKNN-Toolkit2 wrote no table of errors")
    layers = [
        {"name": name, "op": op, "entire": _simulated(entire, 1), "single": _simulated(single, 1)}
        for op, name, entire, single in rows
    ]
    note = "of a twin that the toolkit quantized itself by the same images: it analyses no imported QDQ model"
    return {
        "source": f"RKNN-Toolkit2 {version}",
        "note": note,
        "twin_cosine": _simulated(cosine, images),
        "layers": layers,
    }


def _simulated(value: str | float, n: int) -> dict[str, Any]:
    return Quantity(float(value), None, None, n, "simulated").to_dict()
