"""Networks with random weights to build engines of: no time, type or placement depends on the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.settings import Settings
from edgetl.backends.base import Calibration
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import set_metadata
from edgetl.exporting.graph import read, save
from edgetl.exporting.head import add_head
from edgetl.exporting.stage import compile_backbone
from edgetl.exporting.torch_onnx import export_backbone
from edgetl.transfer.backbones import DEFAULT, resolve

_CLASSES = 10


def float_graph(settings: Settings, name: str, folder: Path) -> tuple[Path, Contract]:
    """The default backbone, or another network of timm's with random weights, with ten classes, as ONNX."""
    if name == DEFAULT:
        backbone, contract = compile_backbone(settings.context, resolve(DEFAULT, None))
        return _with_head(backbone, contract, folder / "float.onnx"), contract
    import timm
    import torch

    torch.manual_seed(0)
    options = {"zero_init_last": False} if name.startswith("resnet") else {}  # or branches fold away
    network: Any = timm.create_model(name, pretrained=False, num_classes=_CLASSES, **options).eval()
    config = timm.data.resolve_model_data_config(network)
    side = config["input_size"][1]
    contract = Contract(side, side, "shorter", side, "bicubic", tuple(config["mean"]), tuple(config["std"]))
    _settle(network, side)
    export_backbone(network, contract, folder / "float.onnx")
    return folder / "float.onnx", contract


def _with_head(backbone: Path, contract: Contract, out: Path) -> Path:
    graph = read(backbone)
    features = graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    generator = np.random.default_rng(0)
    weight = generator.normal(0, features**-0.5, (_CLASSES, features)).astype(np.float32)
    model = add_head(graph, weight, np.zeros(_CLASSES, np.float32))
    set_metadata(model, contract, [str(number) for number in range(_CLASSES)])
    save(model, out)
    return out


def noise(shape: Sequence[int], count: int) -> Calibration:
    """Images to calibrate with where ranges are of no matter."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (1, *shape), dtype=np.uint8) for _ in range(count)]
    return Calibration(lambda: iter(images), count)


def _settle(network: Any, side: int) -> None:
    """Give the batch norms the statistics of noise: with random weights activations grow beyond float16."""
    import torch

    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean of what passes
        norm.reset_running_stats()
    network.train()
    with torch.inference_mode():
        network(torch.randn(4, 3, side, side))
    network.eval()
