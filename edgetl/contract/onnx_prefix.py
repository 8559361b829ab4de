"""The contract inside an ONNX graph: the uint8 NHWC prefix, and the metadata that travels with it.

``Cast`` comes first because TensorRT refuses a uint8 tensor in any other operator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgetl.contract.value import Contract
from edgetl.errors import InputError

INPUT = "images"
_CONTRACT_KEY = "edgetl.contract"
_LABELS_KEY = "edgetl.labels"
_TRAINED_ON_KEY = "edgetl.trained_on"


def graft_prefix(model: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
    """Replace the float NCHW input by ``images: uint8 [N, H, W, 3]`` and normalise in the graph.

    The four nodes are ``Cast``, ``Transpose``, ``Sub`` and ``Div``; mean and std are in units of the
    0..255 range so that the graph has no separate division by 255.

    Raises:
        InputError: if the model's input is not one float ``[N, 3, H, W]`` tensor of the contract's size.
    """
    grafted = onnx.ModelProto()
    grafted.CopyFrom(model)
    graph = grafted.graph
    source = float_input(grafted, contract)
    if source.name == INPUT:  # many models call it that; the name is the prefix's now
        _rename(graph, INPUT, f"edgetl_{INPUT}")
    batch = _batch_dimension(source)
    mean = np.asarray(contract.mean, np.float64).reshape(1, 3, 1, 1) * 255
    std = np.asarray(contract.std, np.float64).reshape(1, 3, 1, 1) * 255
    graph.initializer.extend(
        [
            numpy_helper.from_array(mean.astype(np.float32), "edgetl_mean"),
            numpy_helper.from_array(std.astype(np.float32), "edgetl_std"),
        ]
    )
    prefix = [
        helper.make_node("Cast", [INPUT], ["edgetl_float"], name="edgetl/cast", to=TensorProto.FLOAT),
        helper.make_node(
            "Transpose", ["edgetl_float"], ["edgetl_nchw"], name="edgetl/layout", perm=[0, 3, 1, 2]
        ),
        helper.make_node("Sub", ["edgetl_nchw", "edgetl_mean"], ["edgetl_centred"], name="edgetl/mean"),
        helper.make_node("Div", ["edgetl_centred", "edgetl_std"], [source.name], name="edgetl/std"),
    ]
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(prefix + nodes)
    graph.input.remove(source)
    shape = [batch, contract.height, contract.width, 3]
    graph.input.insert(0, helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape))
    set_metadata(grafted, contract)
    return grafted


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a graph's input wherever it is read, branches of the graph included."""
    for value in graph.input:
        value.name = new if value.name == old else value.name
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        for attribute in node.attribute:
            for branch in (attribute.g, *attribute.graphs):
                _rename(branch, old, new)


def has_prefix(model: onnx.ModelProto) -> bool:
    """Whether the model's one input is uint8 pixels."""
    inputs = _real_inputs(model)
    return len(inputs) == 1 and inputs[0].type.tensor_type.elem_type == TensorProto.UINT8


def float_input(model: onnx.ModelProto, contract: Contract) -> onnx.ValueInfoProto:
    """The single float NCHW input of a foreign model.

    Raises:
        InputError: if the model has no such input, or one of another size than the contract's.
    """
    inputs = _real_inputs(model)
    if len(inputs) != 1:
        raise InputError(f"the ONNX model must have one image input, it has {len(inputs)}")
    tensor = inputs[0].type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1] not in (0, 3):
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise InputError(f"input {inputs[0].name!r} is {kind} {dims}; expected FLOAT [N, 3, H, W]")
    expected = (contract.height, contract.width)
    if any(size not in (0, wanted) for size, wanted in zip(dims[2:], expected, strict=True)):
        raise InputError(
            f"input {inputs[0].name!r} is {dims[2]}x{dims[3]}; the contract says {expected[0]}x{expected[1]}"
        )
    return inputs[0]


def _real_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _batch_dimension(source: onnx.ValueInfoProto) -> int | str:
    dimension = source.type.tensor_type.shape.dim[0]
    return dimension.dim_value if dimension.dim_value > 0 else "N"


def set_metadata(
    model: onnx.ModelProto,
    contract: Contract,
    labels: Sequence[str] | None = None,
    trained_on: Iterable[str] | None = None,
) -> None:
    """Write the contract into the model's metadata, and what else is given, replacing what was there.

    Args:
        trained_on: SHA-256 of the training images, so that no later bench takes them for unseen ones.
    """
    values = read_raw_metadata(model)
    values[_CONTRACT_KEY] = json.dumps(contract.to_dict(), sort_keys=True)
    if labels is not None:
        values[_LABELS_KEY] = json.dumps(list(labels))
    if trained_on is not None:
        values[_TRAINED_ON_KEY] = "\n".join(sorted(set(trained_on)))
    helper.set_model_props(model, values)


def read_raw_metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def read_contract(model: onnx.ModelProto) -> Contract | None:
    """The contract a model carries, or None for a foreign model.

    Raises:
        InputError: if the metadata is there but damaged.
    """
    text = read_raw_metadata(model).get(_CONTRACT_KEY)
    if text is None:
        return None
    try:
        return Contract.from_dict(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"the ONNX file's contract metadata is damaged: {error}") from error


def read_labels(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """The class names a model carries, or None.

    Raises:
        InputError: if the metadata is there but damaged.
    """
    text = read_raw_metadata(model).get(_LABELS_KEY)
    if text is None:
        return None
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the ONNX file's class names are damaged: {error}") from error
    if not isinstance(labels, list):
        raise InputError("the ONNX file's class names are damaged: they are no list")
    return tuple(str(label) for label in labels)


def read_trained_on(model: onnx.ModelProto) -> tuple[str, ...]:
    """Digests of the images a model says it was trained on; empty for a foreign model."""
    return tuple(read_raw_metadata(model).get(_TRAINED_ON_KEY, "").split())
