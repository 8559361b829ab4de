"""NPUs: which targets' compilers take which networks, and what integers cost in accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import data
from benchmarks.goal import Goal
from benchmarks.networks import float_graph, noise
from benchmarks.settings import Settings
from edgetl import api, profiles
from edgetl.backends import get_backend
from edgetl.contract import Contract
from edgetl.errors import EdgetlError
from edgetl.profiles import Recipe, Target
from edgetl.transfer.backbones import DEFAULT

AREA = "npu"
NETWORKS = (DEFAULT, "resnet18", "mobilenetv3_small_100")
ACCURACY = ("rk3588", "qcs6490", "ethos-u55-128", "intel-npu-4000")
_RECIPE = Recipe(name="bench", title="eight random images", images=8)


def goals(settings: Settings) -> Iterator[Goal]:
    targets = [target for target in profiles.targets_of(["all-npu"]) if target.made == "here"]
    missing = {target.backend: get_backend(target.backend).available().reason for target in targets}
    for backend, reason in missing.items():
        if reason:
            yield Goal(AREA, f"{backend} engines", None, "", "a build", note=f"not measured: {reason}")
    present = [target for target in targets if not missing[target.backend]]
    for name in NETWORKS[: 1 if settings.quick else None]:
        settings.say(f"{name} for {len(present)} targets")
        yield _compiled(settings, name, present)
    yield from _accuracy(settings, [target for target in present if target.name in ACCURACY])


def _compiled(settings: Settings, name: str, targets: list[Target]) -> Goal:
    folder = settings.folder(f"npu-{name}")
    graph, contract = float_graph(settings, name, folder)
    refused = {target.name: fault for target in targets if (fault := _fault(target, graph, contract, folder))}
    garbled = [target for target, fault in refused.items() if "\n" in fault]
    reasons = "; ".join(f"{target}: {fault}" for target, fault in refused.items())
    return Goal(
        AREA,
        f"{name}, targets that compile it or say in one line why not",
        float(len(targets) - len(garbled)),
        "targets",
        f"all {len(targets)} whose compilers are here",
        ">=",
        float(len(targets)),
        note=f"{len(targets) - len(refused)} compile it{reasons and '; '}{reasons}",
    )


def _fault(target: Target, graph: Path, contract: Contract, folder: Path) -> str | None:
    """Why a network can't be compiled for a target."""
    backend = get_backend(target.backend)
    dialect = folder / (backend.dialect or target.backend)
    dialect.mkdir(exist_ok=True)
    quantized, portable = dialect / "int8.onnx", folder / f"{target.name}.onnx"
    out = folder / target.name
    out.mkdir()
    try:
        if not quantized.exists():
            backend.quantize(
                graph, noise(contract.input_shape, _RECIPE.images), _RECIPE, target, [], quantized
            )
        backend.prepare(quantized, target, portable)
        backend.build(portable, target, out)
    except EdgetlError as error:
        return str(error)
    return None


def _accuracy(settings: Settings, targets: list[Target]) -> Iterator[Goal]:
    if not targets:
        return
    images, description = data.labelled(settings)
    settings.say(f"edgetl run for {', '.join(target.name for target in targets)}")
    results = api.run(
        images,
        targets=[target.name for target in targets],
        out=settings.work / "npu-run",
        context=settings.context,
    )
    for engine in results["engines"]:
        name, drop, agreement = engine["target"], engine["drop_points"], engine["agreement"]
        if engine["error"]:
            raise EdgetlError(f"{name}: {engine['error']}")
        against = f"FP32, {drop['kind']} on {drop['n']} images of {description}"
        interval = "95 % interval"
        yield Goal(
            AREA,
            f"{name}, accuracy drop, head refitted",
            drop["value"],
            "points",
            against,
            "<=",
            1.0,
            drop["low"],
            drop["high"],
            interval,
        )
        yield Goal(
            AREA,
            f"{name}, agreement with FP32",
            100 * agreement["value"],
            "%",
            against,
            ">=",
            95.0,
            100 * agreement["low"],
            100 * agreement["high"],
            interval,
        )
