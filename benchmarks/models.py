"""The networks that are measured: the default backbone, as ONNX and as IR."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.settings import Settings
from edgetl import profiles
from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec
from edgetl.contract import Contract
from edgetl.exporting.stage import compile_backbone
from edgetl.transfer.backbones import resolve

OPENVINO = EngineSpec("openvino", "model.xml", "f32", "f32", "CPU")
ONNXRUNTIME = EngineSpec("onnxruntime", "model.onnx", "f32", "f32", "CPUExecutionProvider")


@dataclass(frozen=True)
class Model:
    """One network in two forms: ``onnx`` with a dynamic batch, ``ir`` of it with batch 1."""

    onnx: Path
    ir: Path
    contract: Contract


def backbone(settings: Settings) -> Model:
    """The default backbone without its head, float32; exported once a run."""
    settings.say("exporting the backbone")
    graph, contract = compile_backbone(settings.context, resolve())
    return Model(graph, as_ir(graph, settings.folder("backbone")), contract)


def as_ir(graph: Path, folder: Path) -> Path:
    """The ONNX reshaped to batch 1 and saved as OpenVINO IR, weights uncompressed."""
    return folder / get_backend("openvino").build(graph, profiles.target("x86-vnni"), folder)
