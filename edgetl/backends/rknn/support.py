"""Which nodes of a model the toolkit refuses, asked of its own parser."""

from __future__ import annotations

from pathlib import Path

from edgetl.backends.rknn.toolkit import toolkit
from edgetl.errors import BackendError


def refused(model: Path, soc: str) -> list[str]:
    with toolkit() as child:
        try:
            child.load(model, soc)
        except BackendError as e:
            return [str(e)]
    return []
