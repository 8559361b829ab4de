"""The demo's images: the handwritten digits of scikit-learn, written out as an image folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from edgetl.errors import MissingDependencyError
from edgetl.files import atomic_folder

COUNT = 1797
_SCALE = 255 / 16


def write_digits(folder: Path) -> Path:
    """Write ``folder/<digit>/<number>.png`` (8 x 8 grey pixels each), unless all of them are there.

    Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI, 1998, as shipped
    by scikit-learn.

    Raises:
        MissingDependencyError: if scikit-learn is not installed.
    """
    if sum(1 for _ in folder.glob("*/*.png")) == COUNT:
        return folder
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError("scikit-learn", "train") from error
    digits = load_digits()
    with atomic_folder(folder, "0") as temporary:
        for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            path = temporary / str(label) / f"{number:04d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.round(pixels * _SCALE).astype(np.uint8)).save(path)
    return folder
