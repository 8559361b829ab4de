"""Quantizing, building and bundling: what a backend writes, and whether it writes it again."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgetl.backends.base import Calibration, UInt8
from edgetl.bundle.manifest import read_manifest
from edgetl.bundle.runtime import load
from edgetl.bundle.verify import verify
from edgetl.bundle.write import write_bundle
from edgetl.bundling import GOLDEN_IMAGES, content_of
from edgetl.conformance.case import RECIPE, Case, answers_of
from edgetl.conformance.checking import (
    Checks,
    Failed,
    NotApplicable,
    must_refuse,
    refusal,
    require,
    standard_output_aside,
)
from edgetl.conformance.network import CLASSES, CONTRACT, CONVOLUTIONS, pictures
from edgetl.engines import Engine, stand_in
from edgetl.errors import EdgetlError
from edgetl.files import relative_files
from edgetl.profiles import Recipe

quantize = Checks("quantize")
determinism = Checks("determinism")
round_trip = Checks("round trip")

ALL = (quantize, determinism, round_trip)

_METHODS = ("minmax", "percentile", "entropy")
_ACTIVATIONS = ("auto", "symmetric", "asymmetric")


@quantize("writes a QDQ ONNX whose convolutions are INT8")
def writes_qdq(case: Case) -> None:
    floats = float_convolutions(_quantized(case))
    require(not floats, f"{floats} read float weights")


@quantize("the quantized backbone is computed by what stands in for the engine")
def stands_in(case: Case) -> str:
    from edgetl.backends import get_backend

    path = _quantized(case)
    case.engine("int8")
    spec = stand_in(case.target, path.name)
    features = answers_of(get_backend(spec.backend).load(path, spec), case.images)
    logits = features @ case.network.weight.T + case.network.bias
    same = int((logits.argmax(1) == case.exact.argmax(1)).sum())
    said = f"{spec.backend} on {spec.device}: same class for {same} of {len(logits)}"
    require(same >= len(logits) - max(1, len(logits) // 12), said)
    return said


@quantize("holds one calibration image in memory at a time")
def one_image_at_a_time(case: Case) -> None:
    alive = most = 0

    def died() -> None:
        nonlocal alive
        alive -= 1

    def batches() -> Iterator[UInt8]:
        nonlocal alive, most
        for number in range(36):
            image = pictures([number])
            weakref.finalize(image, died)
            alive += 1
            most = max(most, alive)
            yield image
            del image

    case.quantize(case.network.backbone, calibration=Calibration(batches, 36))
    require(most <= 2, f"{most} images were alive at once")  # the one in work and the one just made


@quantize("nodes kept in float stay in float, or are refused")
def keeps_float(case: Case) -> str | None:
    case.engine("int8")
    kept = CONVOLUTIONS[:2]
    found: list[Path] = []
    said = refusal(
        lambda: found.append(case.quantize(case.network.backbone, keep=kept)), "keeping nodes in float"
    )
    if said:
        return f"refused: {said}"
    floats = float_convolutions(found[0])
    require(
        floats == list(kept), f"asked for {', '.join(kept)} in float, found {', '.join(floats) or 'none'}"
    )
    built: list[Engine] = []
    model = case.with_head(found[0])
    said = refusal(lambda: built.append(case.build(model)), "building with nodes in float")
    if said:
        return f"the build refuses them: {said}"
    counted = _layers_not_int8(case, built[0])
    require(counted is None or counted >= 2, f"the engine has {counted} layers in float")
    return None


def _layers_not_int8(case: Case, engine: Engine) -> int | None:
    """How many of the engine's products are not INT8; None where nothing tells."""
    if case.standing.loads:
        layers = engine.open().precision().layers
    else:
        proof = engine.proof
        if proof is None or proof.precision is None:
            return None
        layers = proof.precision.layers
    return sum(count for name, count in layers.items() if name != "int8")


def _recipe_check(method: str, activations: str) -> None:
    @quantize(f"recipe {method}, {activations}: works or says why not")
    def works(case: Case) -> str | None:
        recipe = RECIPE.model_copy(update={"method": method, "activations": activations})
        with standard_output_aside() as printed:
            said = _try_recipe(case, recipe)
        require(not printed, f"{len(printed)} lines on standard output")
        return said


def _try_recipe(case: Case, recipe: Recipe) -> str | None:
    found: list[Path] = []
    said = refusal(
        lambda: found.append(case.quantize(case.network.model, recipe=recipe)),
        f"quantizing with {recipe.method} ranges",
    )
    if said:
        return f"refused: {said}"
    floats = float_convolutions(found[0])
    require(not floats, f"{floats} read float weights")
    if case.standing.loads:
        used = case.build(found[0]).open().precision().used
        require(used == "int8", f"the engine computes in {used}")
    return None


for _method in _METHODS:
    for _activations in _ACTIVATIONS:
        _recipe_check(_method, _activations)


@determinism("quantizing again gives the same")
def quantizes_again(case: Case) -> str | None:
    first, second = _quantized(case), case.quantize(case.network.backbone)
    if first.read_bytes() == second.read_bytes():
        return "the same bytes"
    spec = stand_in(case.target, first.name)
    from edgetl.backends import get_backend

    backend = get_backend(spec.backend)
    before, after = (answers_of(backend.load(path, spec), case.images) for path in (first, second))
    require(np.array_equal(before, after), "other bytes, and other answers")
    return "other bytes, the same answers"


@determinism("building again gives the same")
def builds_again(case: Case) -> str:
    said = []
    for precision, engine in case.engines():
        again = case.build(engine.portable, case.target_for(precision))
        require(again.spec.file == engine.spec.file, f"{precision}: another file: {again.spec.file}")
        if _main(engine) == _main(again):
            said.append(f"{precision}: the same bytes")
            continue
        if not case.standing.loads and engine.answering().folder != engine.folder:
            raise NotApplicable(f"{precision}: other bytes, and nothing here runs the engine")
        before, after = (answers_of(case.open(each), case.images) for each in (engine, again))
        require(np.array_equal(before, after), f"{precision}: other bytes, and other answers")
        said.append(f"{precision}: other bytes, the same answers")
    return ", ".join(said)


def _main(engine: Engine) -> bytes:
    return (engine.folder / engine.spec.file).read_bytes()


@round_trip("bundled, verified, replayed")
def survives_a_bundle(case: Case) -> str | None:
    engine = case.engine("int8")
    bundle = _bundle(case, engine)
    if read_manifest(bundle).simulator is None and not case.standing.loads:
        raise NotApplicable("nothing here can replay the bundle's golden output")
    replay = verify(bundle)
    require(
        replay.same_top1 and replay.max_abs <= replay.allowed, f"the answers moved by {replay.max_abs:.3g}"
    )
    if not case.standing.loads:
        require(replay.simulated is not None, "the replay does not say that it was simulated")
        return f"replayed by the simulator: {replay.simulated}"
    require(replay.simulated is None, "the replay says that it was simulated")
    model = load(bundle)
    require(model.labels == CLASSES and model.contract == CONTRACT, "the bundle has other labels or contract")
    names = [model.predict(image).label for image in case.images]
    wanted = [CLASSES[index] for index in answers_of(case.session("int8"), case.images).argmax(1)]
    require(names == wanted, "the bundle predicts other classes than the engine")
    return None


@round_trip("an altered file is noticed")
def alteration_is_noticed(case: Case) -> None:
    bundle = _bundle(case, case.engine("int8"))
    for name in relative_files(bundle):
        path = bundle / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if whole else b"x")
        must_refuse(lambda: verify(bundle), f"verifying a bundle with {name} altered")
        path.write_bytes(whole)


def _bundle(case: Case, engine: Engine) -> Path:
    golden = pictures(range(GOLDEN_IMAGES))
    facts: dict[str, Any] = {"provenance": {"model": "conformance"}, "measurements": {}}
    content = content_of(case.context, engine, CONTRACT, CLASSES, golden, **facts)
    folder = case.new_folder() / "bundle"
    return write_bundle(content, folder)


def _quantized(case: Case) -> Path:
    try:
        return case.backbone
    except EdgetlError as error:
        raise Failed(str(error)) from error


def float_convolutions(model: Path) -> list[str]:
    """Names of the convolutions that do not read dequantized weights."""
    graph = onnx.load(model).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return [node.name for node in graph.node if node.op_type == "Conv" and node.input[1] not in dequantized]
