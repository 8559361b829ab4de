"""An engine's input and output, which must be those that all of edgetl's engines have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.backends.base import image_shape
from edgetl.backends.tensorrt.binding import Binding
from edgetl.errors import BackendError


@dataclass(frozen=True)
class Tensors:
    """An engine's input ``[N, *image]`` and output ``[N, outputs]``, with N from ``least`` to ``most``."""

    input: str
    output: str
    image: tuple[int, int, int]
    outputs: int
    least: int
    most: int


def read_tensors(path: Path, binding: Binding, engine: Any) -> Tensors:
    """The engine's tensors.

    Raises:
        BackendError: if they are not one ``uint8 [N, H, W, 3]`` and one ``float32 [N, outputs]``.
    """
    trt = binding.trt
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if name not in inputs]
    if len(inputs) != 1 or len(outputs) != 1:
        raise BackendError(
            f"{path.name} has {len(inputs)} inputs and {len(outputs)} outputs; edgetl's engines have one each"
        )
    [source], [result] = inputs, outputs
    shape, kind = _described(engine, source)
    image = image_shape(shape, kind, path)
    given, kind_given = _described(engine, result)
    if kind_given != "float" or len(given) != 2 or given[0] != shape[0] or not isinstance(given[1], int):
        raise BackendError(
            f"{path.name} returns {kind_given} {given}; edgetl's engines return float [N, outputs]"
        )
    if any(engine.get_tensor_format(name) != trt.TensorFormat.LINEAR for name in names):
        raise BackendError(f"{path.name} has vectorized inputs or outputs; edgetl's engines have linear ones")
    least = most = shape[0]
    if not isinstance(most, int):
        sizes = [size[0] for size in engine.get_tensor_profile_shape(source, 0)]
        least, most = min(sizes), max(sizes)
    return Tensors(source, result, image, given[1], least, most)


def _described(engine: Any, name: str) -> tuple[list[Any], str]:
    """(shape, element type) of a tensor, with ``N`` for a dynamic size."""
    shape = [size if size >= 0 else "N" for size in engine.get_tensor_shape(name)]
    return shape, str(engine.get_tensor_dtype(name)).rpartition(".")[2].lower()
