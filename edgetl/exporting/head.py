"""The classification head in an ONNX graph: one ``Gemm`` that can be added, replaced and taken off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgetl.errors import InputError

NODE = "edgetl/head"
LOGITS = "logits"
_WEIGHT = "edgetl_head_weight"
_BIAS = "edgetl_head_bias"

Float32 = npt.NDArray[np.float32]


def add_head(backbone: onnx.ModelProto, weight: Float32, bias: Float32) -> onnx.ModelProto:
    """``features [N, D] → logits [N, C]`` after a backbone.

    Args:
        weight: float32 ``[C, D]``.
        bias: float32 ``[C]``.

    Raises:
        InputError: if the shapes don't fit.
    """
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    graph = model.graph
    features = graph.output[0]
    shape = features.type.tensor_type.shape.dim
    if len(shape) != 2:
        raise InputError(f"a head needs features [N, D], the backbone gives {len(shape)} dimensions")
    batch, size = shape
    if size.dim_value != weight.shape[1] or bias.shape != (weight.shape[0],):
        raise InputError(f"a head of {list(weight.shape)} does not fit {size.dim_value} features")
    graph.initializer.extend([numpy_helper.from_array(weight, _WEIGHT), numpy_helper.from_array(bias, _BIAS)])
    graph.node.append(
        helper.make_node("Gemm", [features.name, _WEIGHT, _BIAS], [LOGITS], name=NODE, transB=1)
    )
    logits = [batch.dim_value or batch.dim_param or "N", weight.shape[0]]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, logits))
    return model


def has_float_head(model: onnx.ModelProto) -> bool:
    """Whether the model ends in a head whose float weights can be replaced."""
    node = _head(model)
    return node is not None and list(node.input[1:]) == [_WEIGHT, _BIAS]


def remove_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model up to its features.

    Raises:
        InputError: if it has no head of edgetl's.
    """
    node = _require(model)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    size = _tensor(model, _WEIGHT).shape[1]
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    shape = [batch.dim_value or batch.dim_param or "N", size]
    kept = [item for item in graph.node if item.name != NODE]
    del graph.node[:]
    graph.node.extend(kept)
    weights = [tensor for tensor in graph.initializer if tensor.name not in (_WEIGHT, _BIAS)]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    values = [value for value in graph.value_info if value.name != node.input[0]]
    del graph.value_info[:]
    graph.value_info.extend(values)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, shape))
    return bare


def _head(model: onnx.ModelProto) -> onnx.NodeProto | None:
    return next((node for node in model.graph.node if node.name == NODE and node.op_type == "Gemm"), None)


def _require(model: onnx.ModelProto) -> onnx.NodeProto:
    node = _head(model)
    if node is None or not has_float_head(model):
        raise InputError("the model has no float head of edgetl's to work on")
    return node


def _tensor(model: onnx.ModelProto, name: str) -> Float32:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))
