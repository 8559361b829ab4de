"""Lets RKNN-Toolkit2 be imported without torch, which takes five gigabytes and serves its PyTorch importer.

At import the toolkit takes a decorator and a base class from torch; what edgetl uses of it (ONNX in, RKNN
out, the simulator, the error analysis) calls neither. Any other use raises. Read by the child.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any


class _Absent(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"RKNN-Toolkit2 asked for {self.__name__}.{name}, which is not installed for it")


def _no_grad() -> Callable[[Any], Any]:
    return lambda function: function


def leave_out_torch() -> None:
    """Put the stand-ins where ``import torch`` finds them."""
    torch, nn = _Absent("torch"), _Absent("torch.nn")
    torch.nn, torch.no_grad = nn, _no_grad  # type: ignore[attr-defined]
    nn.Module = type("Module", (), {})  # type: ignore[attr-defined]
    sys.modules |= {"torch": torch, "torch.nn": nn}
