"""TensorRT: how long RTX engines take to build, whether all of them is INT8, what INT8 costs in accuracy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data
from benchmarks.goal import Goal
from benchmarks.networks import float_graph, noise
from benchmarks.settings import Settings
from edgetl import api, profiles
from edgetl.backends import get_backend
from edgetl.engines import engine_spec
from edgetl.errors import EdgetlError
from edgetl.profiles import Recipe, Target
from edgetl.transfer.backbones import DEFAULT

AREA = "tensorrt"
TARGETS = ("rtx-30", "rtx-40", "rtx-50")
NETWORKS = (
    *("resnet18", "resnet50", "mobilenetv3_large_100", "vgg16"),
    *("inception_v3", "vit_tiny_patch16_224"),
)
"""Built with random weights: neither the time of a build nor the precision of a layer depends on them."""


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
    graph, contract = float_graph(settings, name, folder)
    recipe = Recipe(name="bench", title="four random images", images=4)
    seconds, int8, products = [], 0, 0
    for target in map(profiles.target, TARGETS):
        backend = get_backend(target.backend)
        quantized, portable = folder / "int8.onnx", folder / "portable.onnx"
        if not quantized.exists():
            calibration = noise(contract.input_shape, recipe.images)
            backend.quantize(graph, calibration, recipe, target, [], quantized)
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
