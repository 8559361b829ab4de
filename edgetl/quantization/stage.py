"""Quantization of a graph with calibration images: what was made is kept under all it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgetl.backends import get_backend
from edgetl.backends.base import matching_nodes
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Sample
from edgetl.exporting.graph import read
from edgetl.files import sha256_file
from edgetl.profiles import Recipe, Target
from edgetl.quantization.calibration import calibration_set, choose
from edgetl.store import Entry
from edgetl.versions import versions

MODEL = "model.onnx"


def quantize_graph(
    context: Context,
    graph: Path,
    contract: Contract,
    samples: Sequence[Sample],
    target: Target,
    recipe: Recipe,
    *,
    seed: int = 0,
    keep_float: Sequence[str] = (),
) -> Entry:
    """The graph as INT8 QDQ ONNX (``model.onnx`` in the entry).

    Args:
        samples: images of the training side to draw the calibration images from.
        keep_float: names of nodes that stay in float, besides those the recipe's patterns match.

    Raises:
        BackendError: if the backend's quantizer fails.
        InputError: if a pattern of the recipe matches nothing.
    """
    chosen = choose(samples, recipe, seed)
    backend = get_backend(target.backend)
    quantizer = backend.dialect or target.backend
    parts = {
        "model": sha256_file(graph),
        "images": [sample.digest for sample in chosen],
        "contract": contract.fingerprint,
        "recipe": recipe.model_dump(mode="json", exclude={"name", "title"}),
        "quantizer": quantizer,
        "weight_bits": target.weight_bits,
        "keep_float": list(keep_float),
        "versions": versions(*backend.quantizers),
        "machine": context.machine,
    }

    def make(folder: Path) -> Mapping[str, Any]:
        names = [node.name for node in read(graph).graph.node] if recipe.keep_float else []
        kept = list(dict.fromkeys([*keep_float, *matching_nodes(names, recipe.keep_float)]))
        backend.quantize(graph, calibration_set(chosen, contract), recipe, target, kept, folder / MODEL)
        return {"images": len(chosen), "kept_float": kept}

    return context.store.get("quantized", parts, make)
