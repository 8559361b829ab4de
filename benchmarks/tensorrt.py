"""TensorRT: how long RTX engines take to build, whether all of them is INT8, what INT8 costs in accuracy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.goal import Goal
from benchmarks.settings import Settings
from edgetl import api, profiles
from edgetl.backends import get_backend
from edgetl.backends.base import Calibration
from edgetl.contract import Contract
from edgetl.engines import engine_spec
from edgetl.errors import EdgetlError
from edgetl.exporting.stage import compile_backbone
from edgetl.exporting.torch_onnx import export_backbone
from edgetl.profiles import Recipe, Target
from edgetl.transfer.backbones import DEFAULT, resolve

AREA = "tensorrt"
TARGETS = ("rtx-30", "rtx-40", "rtx-50")
NETWORKS = (
    *("resnet18", "resnet50", "mobilenetv3_large_100", "vgg16"),
    *("inception_v3", "vit_tiny_patch16_224"),
)
"""Built with random weights: neither the time of a build nor the precision of a layer depends on them."""
_CLASSES = 10


@dataclass(frozen=True)
class _Built:
    """One network: the slowest of its builds, and convolutions and matrix products by precision."""

    seconds: Sequence[float]
    int8: int
    products: int


def goals(settings: Settings) -> Iterator[Goal]:
    availability = get_backend("tensorrt-rtx").available()
    if not availability.ok:
        yield Goal(AREA, "RTX engines", None, "s", "a build", note=f"not measured: {availability.reason}")
        return
    for name in (DEFAULT, *NETWORKS[: 1 if settings.quick else None]):
        settings.say(f"{name} for {', '.join(TARGETS)}")
        yield from _network(settings, name)
    yield from _accuracy(settings)


def _network(settings: Settings, name: str) -> Iterator[Goal]:
    built = _build(settings, name)
    slowest = max(built.seconds)
    yield Goal(
        AREA,
        f"{name}, INT8 engine built",
        slowest,
        "s",
        f"five seconds, the slowest of {', '.join(TARGETS)}",
        "<=",
        5.0,
        min(built.seconds),
        slowest,
        f"min..max of {len(built.seconds)} targets",
    )
    yield Goal(
        AREA,
        f"{name}, convolutions and matrix products in INT8",
        100 * built.int8 / built.products,
        "%",
        f"all {built.products} of them, read from the builder's layer report",
        ">=",
        100.0,
    )


def _build(settings: Settings, name: str) -> _Built:
    folder = settings.folder(f"tensorrt-{name}")
    graph, contract = _float_graph(settings, name, folder)
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (1, *contract.input_shape), dtype=np.uint8) for _ in range(4)]
    recipe = Recipe(name="bench", title="four random images", images=len(images))
    seconds, int8, products = [], 0, 0
    for target in map(profiles.target, TARGETS):
        backend = get_backend(target.backend)
        quantized, portable = folder / "int8.onnx", folder / "portable.onnx"
        if not quantized.exists():
            backend.quantize(
                graph, Calibration(lambda: iter(images), len(images)), recipe, target, [], quantized
            )
            backend.prepare(quantized, target, portable)
        out = settings.folder(f"tensorrt-{name}/{target.name}")
        started = time.perf_counter()
        engine = out / backend.build(portable, target, out)
        seconds.append(time.perf_counter() - started)
        layers = _layers(target, engine)
        int8, products = layers.get("int8", 0), sum(layers.values())
    return _Built(seconds, int8, products)


def _layers(target: Target, engine: Path) -> dict[str, int]:
    proof = get_backend(target.backend).proof(engine, engine_spec(target, engine.name))
    if proof is None or proof.precision is None:
        raise EdgetlError(f"the build of {engine} reported no layers")
    return dict(proof.precision.layers)


def _float_graph(settings: Settings, name: str, folder: Path) -> tuple[Path, Contract]:
    if name == DEFAULT:
        return compile_backbone(settings.context, resolve(DEFAULT, None))
    import timm
    import torch

    torch.manual_seed(0)
    network: Any = timm.create_model(name, pretrained=False, num_classes=_CLASSES).eval()
    config = timm.data.resolve_model_data_config(network)
    side = config["input_size"][1]
    contract = Contract(side, side, "shorter", side, "bicubic", tuple(config["mean"]), tuple(config["std"]))
    _settle(network, side)
    export_backbone(network, contract, folder / "float.onnx")
    return folder / "float.onnx", contract


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


def _accuracy(settings: Settings) -> Iterator[Goal]:
    """The drop with the head refitted, and how often INT8 agrees with FP32, with and without."""
    images, description = data.labelled(settings)
    settings.say("edgetl run for rtx-40, with and without refit")
    for refit in (True, False):
        results = api.run(
            images,
            targets=["rtx-40"],
            out=settings.work / f"tensorrt-{refit}",
            refit_head=refit,
            context=settings.context,
        )
        engine = results["engines"][0]
        if engine["error"]:
            raise EdgetlError(engine["error"])
        head = "head refitted" if refit else "FP32's head"
        against = f"FP32, simulated in onnxruntime on {description}"
        drop, agreement = engine["drop_points"], engine["agreement"]
        yield Goal(
            AREA,
            f"accuracy drop, {head}",
            drop["value"],
            "points",
            against,
            "<=",
            0.5 if refit else None,
            drop["low"],
            drop["high"],
            "95 % interval",
        )
        yield Goal(
            AREA,
            f"agreement with FP32, {head}",
            100 * agreement["value"],
            "%",
            against,
            low=100 * agreement["low"],
            high=100 * agreement["high"],
            interval="95 % interval",
        )
