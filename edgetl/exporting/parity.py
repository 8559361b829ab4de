"""Does the exported graph compute what torch computes? On real images, or the export fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.errors import EdgetlError
from edgetl.quantity import Quantity, proportion

Float32 = npt.NDArray[np.float32]
Run = Callable[[Any], Float32]

RELATIVE_TOLERANCE = 1e-3
"""Largest difference allowed, relative to the spread of torch's own logits."""


@dataclass(frozen=True)
class Parity:
    """Logits of two implementations on the same images.

    Attributes:
        max_abs: largest absolute difference.
        mean_abs: mean absolute difference.
        scale: standard deviation of the reference's logits.
        top1_agreement: share of images with the same top-1 class.
    """

    n: int
    max_abs: float
    mean_abs: float
    scale: float
    top1_agreement: Quantity

    def to_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "scale": self.scale,
            "top1_agreement": self.top1_agreement.to_dict(),
        }


def compare(reference: Float32, candidate: Float32) -> Parity:
    """Compare logits, float32 ``[N, C]`` each.

    Raises:
        EdgetlError: if shapes differ, there are no images, or a value is not finite.
    """
    if reference.shape != candidate.shape:
        raise EdgetlError(f"export: torch gives {list(reference.shape)}, ONNX {list(candidate.shape)}")
    if len(reference) == 0:
        raise EdgetlError("export: there are no images to compare on")
    if not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        raise EdgetlError("export: logits hold NaN or infinity")
    difference = np.abs(reference - candidate)
    same = int((reference.argmax(1) == candidate.argmax(1)).sum())
    return Parity(
        n=len(reference),
        max_abs=float(difference.max()),
        mean_abs=float(difference.mean()),
        scale=float(reference.std()),
        top1_agreement=proportion(same, len(reference)),
    )


def require(parity: Parity) -> None:
    """Fail an export that changes the model.

    Raises:
        EdgetlError: if logits differ by more than the tolerance.
    """
    if parity.max_abs > RELATIVE_TOLERANCE * max(parity.scale, 1e-6):
        raise EdgetlError(
            f"export: ONNX and torch differ by up to {parity.max_abs:.3g} where logits spread "
            f"{parity.scale:.3g}; the exported model is not the trained one"
        )
