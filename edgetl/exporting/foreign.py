"""Somebody else's ONNX: given a contract by declaration and the uint8 prefix, it is one of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgetl.backends.operators import is_quantized
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix, has_prefix, read_contract, read_labels, read_trained_on
from edgetl.errors import InputError
from edgetl.exporting.graph import external_files, finish, read
from edgetl.versions import versions

_MODEL = "model.onnx"


@dataclass(frozen=True)
class Graph:
    """An ONNX with the uint8 prefix, its contract and class names.

    Attributes:
        trained_on: digests of the training images, as far as the file tells.
    """

    path: Path
    contract: Contract
    labels: tuple[str, ...]
    quantized: bool
    trained_on: tuple[str, ...] = ()


def open_graph(context: Context, path: Path, declared: Contract | None = None) -> Graph:
    """Read an ONNX file; a foreign one gets the declared contract and the prefix.

    Raises:
        InputError: if the file is wrong, or foreign and no contract was declared.
        ContractMismatchError: if it carries another contract than the declared one.
    """
    model = read(path)
    carried = read_contract(model)
    if carried is not None:
        if declared is not None:
            carried.require(declared, mine=path.name, theirs="the command line")
        if not has_prefix(model):
            raise InputError(f"{path} carries a contract but not its uint8 input; export it again")
        if external_files(onnx.load(path, load_external_data=False)):
            raise InputError(f"{path} keeps its weights in another file; save it with the weights inside")
        return Graph(path, carried, _labels(model), is_quantized(model), read_trained_on(model))
    if declared is None:
        raise InputError(
            f"{path} does not say how its images are preprocessed; "
            "declare it with --size, --mean and --std (and --resize-to)"
        )
    parts = {
        "model": hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(),
        "contract": declared.fingerprint,
        "tools": versions("onnx", "onnxslim"),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        return finish(graft_prefix(model, declared), folder / _MODEL)

    entry = context.store.get("foreign", parts, make)
    return Graph(entry.file(_MODEL), declared, _labels(read(entry.file(_MODEL))), is_quantized(model))


def _labels(model: onnx.ModelProto) -> tuple[str, ...]:
    """The class names the model carries, else numbers."""
    output = model.graph.output[0].type.tensor_type.shape.dim
    if len(output) != 2 or output[1].dim_value < 2:
        shape = [dim.dim_value or dim.dim_param for dim in output]
        raise InputError(f"the model's output is {shape}; expected logits [N, classes]")
    if names := read_labels(model):
        if len(names) != output[1].dim_value:
            raise InputError(f"the model has {output[1].dim_value} outputs but names {len(names)} classes")
        return names
    return tuple(str(number) for number in range(output[1].dim_value))
