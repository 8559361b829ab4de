"""Where a quantized model loses accuracy, layer by layer, where its toolchain tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.data import Sample
from edgetl.errors import BackendError
from edgetl.files import sha256_file
from edgetl.profiles import Recipe, Target
from edgetl.quantization.calibration import calibration_set, choose

_IMAGES = 32


def errors_by_layer(
    context: Context,
    reference: Path,
    model: Path,
    contract: Contract,
    samples: Sequence[Sample],
    target: Target,
    recipe: Recipe,
    *,
    seed: int = 0,
) -> Mapping[str, Any]:
    """The toolchain's error analysis; one that fails leaves a note in its place.

    Args:
        reference: the float model that ``model`` was quantized from, with the same head.
        samples: what ``model`` was calibrated with; the first of its calibration images are analysed.

    Returns:
        JSON-ready: see :meth:`edgetl.backends.base.Backend.analyse`.
    """
    backend = get_backend(target.backend)
    chosen = choose(samples, recipe, seed)[:_IMAGES]
    parts = {
        "reference": sha256_file(reference),
        "model": sha256_file(model),
        "contract": contract.fingerprint,
        "images": [sample.digest for sample in chosen],
        "device": target.device,
        "versions": context.runtime_versions(target.backend),
    }

    def make(_: Path) -> Mapping[str, Any]:
        images = np.concatenate(list(calibration_set(chosen, contract).batches()))
        return {"analysis": backend.analyse(reference, model, target, images)}

    try:
        found: Mapping[str, Any] = context.store.get("errors-by-layer", parts, make).facts["analysis"]
    except BackendError as error:
        context.observer.note(f"{target.name}: no error analysis: {error}")
        return {"source": target.backend, "note": f"failed: {error}", "layers": []}
    return found
