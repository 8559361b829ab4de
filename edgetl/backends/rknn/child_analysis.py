"""The toolkit's error analysis, layer by layer. Runs in the toolchain's environment.

The toolkit analyses what it has quantized itself, and refuses an imported QDQ model. So it quantizes the
float model by the same images: a twin, whose distance to the QDQ model is told too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from child_toolkit import believe, compiled, infer  # type: ignore[import-not-found]
from toolkit_form import toolkit_form  # type: ignore[import-not-found]


def analysed_twin(reference: Path, model: Path, soc: str, images: np.ndarray) -> dict[str, Any]:
    """``table`` as the toolkit writes it for the first image, ``cosine`` of the twin's logits to ``model``'s.

    Args:
        reference: the float model that ``model`` was quantized from.
        images: uint8 ``[N, H, W, 3]`` to find ranges with.
    """
    for number, image in enumerate(images):
        np.save(f"{number}.npy", image.transpose(2, 0, 1)[None])
    Path("images.txt").write_text("".join(f"{number}.npy\n" for number in range(len(images))))
    twin, _ = compiled(toolkit_form(onnx.load(reference)), soc, "images.txt")
    believe(twin.init_runtime(), "start the simulator")
    believe(twin.accuracy_analysis(inputs=["0.npy"], output_dir="snapshot"), "analyse the model")
    original, _ = compiled(toolkit_form(onnx.load(model)), soc)
    believe(original.init_runtime(), "start the simulator")
    answers = [np.concatenate([infer(each, image[None]) for image in images]) for each in (twin, original)]
    table = Path("snapshot", "error_analysis.txt").read_text(errors="replace")
    return {"table": table, "cosine": _cosine(*answers)}


def _cosine(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Mean over the images."""
    lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(np.mean((mine * theirs).sum(axis=1) / lengths))
