"""Small networks behind the contract's prefix, and their answers from onnxruntime and from LiteRT."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix
from edgetl.profiles import Target

SIDE = 17
COLOURED = Contract(SIDE, SIDE, "shorter", SIDE, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY = Contract(SIDE, SIDE, "shorter", SIDE, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TARGET = Target(name="board", title="for tests", backend="litert", precision="int8", machine="aarch64")


class Net:
    """A float network in the making; its input is ``x: float [N, 3, 17, 17]``."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        name = f"constant{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(self, source: str, before: int, after: int, kernel: int = 3, **attributes: Any) -> str:
        fan = before // attributes.get("group", 1)
        weights = self.rng.normal(0, 1 / (fan * kernel**2) ** 0.5, (after, fan, kernel, kernel))
        weights *= self.rng.uniform(0.1, 2, (after, 1, 1, 1))  # scales that differ from channel to channel
        bias = self.constant(self.rng.normal(0, 0.2, after))
        return self.node("Conv", source, self.constant(weights), bias, **attributes)

    def model(self, last: str, contract: Contract = COLOURED, opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
            self.weights,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        return graft_prefix(made, contract)


@dataclass
class Lite:
    """A .tflite opened: its input and output, its operators, the types and scales of its tensors."""

    data: bytes
    interpreter: Any = field(init=False)

    def __post_init__(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_content=self.data, num_threads=1)
        self.interpreter.allocate_tensors()
        self.input, self.output = (
            self.interpreter.get_input_details()[0],
            self.interpreter.get_output_details()[0],
        )

    @property
    def operators(self) -> Counter[str]:
        return Counter(
            operator["op_name"]
            for operator in self.interpreter._get_ops_details()
            if operator["op_name"] != "DELEGATE"
        )

    def floats(self) -> list[str]:
        """Operators that write float, besides the conversion at the end."""
        return [
            operator["op_name"]
            for operator in self.interpreter._get_ops_details()
            if operator["op_name"] not in ("DELEGATE", "DEQUANTIZE")
            and np.float32 in operator["result_types"]
        ]

    def run(self, images: np.ndarray) -> np.ndarray:
        """As ONNX has it: channels first, one row an image."""
        rows = []
        for image in images:
            self.interpreter.set_tensor(self.input["index"], image[None])
            self.interpreter.invoke()
            rows.append(self.interpreter.get_tensor(self.output["index"]))
        found = np.concatenate(rows)
        return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found


def reference(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """onnxruntime's answers, node by node as the graph has them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"images": image[None]})[0] for image in images])


def last_scale(model: onnx.ModelProto) -> float:
    """The quantization step of the output."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    last = next(node for node in model.graph.node if node.output[0] == model.graph.output[0].name)
    assert last.op_type == "DequantizeLinear"
    return float(constants[last.input[1]])
