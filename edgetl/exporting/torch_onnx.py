"""torch → ONNX: a backbone exported, simplified, checked, with the contract's prefix in front."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix
from edgetl.errors import EdgetlError
from edgetl.exporting.graph import finish

if TYPE_CHECKING:
    import torch

FEATURES = "features"


def export_backbone(
    module: torch.nn.Module, contract: Contract, out: Path, *, batch: int | None = None
) -> dict[str, Any]:
    """Write ``images: uint8 [N, H, W, 3] → features: float32 [N, D]`` as ONNX.

    Args:
        module: takes normalised float32 ``[N, 3, H, W]``.
        batch: fixed batch size; None makes the batch dynamic.

    Returns:
        Facts: opset, number of nodes, feature dimension.

    Raises:
        EdgetlError: if torch cannot export the module.
    """
    import torch

    # a dynamic dimension is specialised away where the example has size one
    example = torch.zeros(batch or 2, 3, contract.height, contract.width)
    shapes = None if batch else ({0: torch.export.Dim("N", min=1, max=65536)},)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                input_names=["image"],
                output_names=[FEATURES],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch's exporter wraps whatever a model raises
        raise EdgetlError(f"torch cannot export {type(module).__name__} to ONNX: {_cause(error)}") from error
    if program is None:
        raise EdgetlError(f"torch returned no ONNX program for {type(module).__name__}")
    model = graft_prefix(program.model_proto, contract)
    return finish(model, out)


def _cause(error: BaseException) -> str:
    """What the model raised first, in a line: torch wraps it in advice of a page."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter narrates on stdout and through warnings; errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
