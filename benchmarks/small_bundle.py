"""A small bundle that is whole, and a model that steals, for those who forge bundles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.bundle.write import Content, write_bundle
from edgetl.conformance.network import CLASSES, CONTRACT, pictures, write_network
from edgetl.device.environment import environment, fingerprint
from edgetl.profiles import Target

DEVICES = {"openvino": "CPU", "onnxruntime": "CPUExecutionProvider"}


def reader_of(location: str) -> bytes:
    """An ONNX model that answers with bytes of the file at ``location``."""
    from onnx import TensorProto, helper, numpy_helper

    count, side = len(CLASSES), CONTRACT.height
    stolen = TensorProto(name="stolen", data_type=TensorProto.UINT8, dims=[count])
    stolen.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(count))):
        entry = stolen.external_data.add()
        entry.key, entry.value = key, value
    nodes = [
        helper.make_node("Cast", ["stolen"], ["answer"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["column"]),
        helper.make_node("Add", ["column", "answer"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", side, side, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", count])],
        [stolen, numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def make_bundle(backend: str, work: Path, out: Path) -> Path:
    """A bundle of the conformance network, in float, for this machine's CPU.

    Args:
        work: an empty folder for what it is made of.
    """
    network = write_network(work)
    target = Target(
        name=f"tiny-{backend}",
        title="for forgers",
        backend=backend,
        precision="f32",
        machine="x86_64",
        device=DEVICES[backend],
    )
    built = work / "engine"
    built.mkdir()
    spec = EngineSpec(backend, "", "f32", "f32", DEVICES[backend])
    spec = replace(spec, file=get_backend(backend).build(network.model, target, built))
    session = get_backend(backend).load(built / spec.file, spec)
    images = pictures(range(4))
    return write_bundle(
        Content(
            target=target.name,
            spec=spec,
            engine=built,
            portable=network.model,
            contract=CONTRACT,
            labels=CLASSES,
            precision=session.precision().to_dict(),
            device=fingerprint(environment()),
            versions={"edgetl": "0"},
            provenance={"model": "conformance"},
            golden_input=images,
            golden_output=np.concatenate([session.run(image[None]) for image in images]),
            measurements={},
            trained_on=["a" * 64, "b" * 64],
        ),
        out,
    )
