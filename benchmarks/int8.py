"""INT8: edgetl's engine against float engines and against the quantizers' own defaults, interleaved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data, peers
from benchmarks.goal import Goal
from benchmarks.models import ONNXRUNTIME, OPENVINO, as_ir
from benchmarks.settings import Settings
from edgetl import api, profiles
from edgetl.backends import get_backend
from edgetl.backends.base import Session, UInt8
from edgetl.bundle.runtime import load
from edgetl.contract import preprocess
from edgetl.data import load_dataset
from edgetl.engines import standing
from edgetl.errors import EdgetlError
from edgetl.measurement.latency import Latency, LatencyOptions, measure, paired_ratio
from edgetl.quantization.calibration import choose

AREA = "int8"
TARGET = "x86-vnni"
NOISE = 0.97
"""Two equal engines are told apart by this much at times: the 3 % that the latencies repeat within."""
_PLAIN = {"nncf": "plain NNCF in OpenVINO", "ort-int8": "plain onnxruntime static INT8"}


@dataclass(frozen=True)
class _Story:
    """What a run of edgetl left: its results, float model, INT8 bundle, and calibration images."""

    results: dict[str, Any]
    onnx: Path
    bundle: Path
    calibration: list[UInt8]


def goals(settings: Settings) -> Iterator[Goal]:
    target = profiles.target(TARGET)
    here = standing(target, settings.context.environment)
    if not here.latency:
        told = "float engines and plain INT8"
        yield Goal(AREA, "EfficientNet-Lite0, batch 1", None, "x", told, note=f"not measured: {here.reason}")
        return
    images, description = data.labelled(settings)
    story = _run(settings, images)
    latencies = _latencies(settings, story)
    yield _faster(latencies, "openvino", "OpenVINO FP32 (asked for f32)", 2.7)
    yield _faster(latencies, "ort", "onnxruntime FP32", 3.0)
    best = min(_PLAIN, key=lambda name: latencies[name].p50.value)
    yield _faster(latencies, best, f"{_PLAIN[best]}, the faster of the two plain ones", NOISE)
    yield _drop(story.results, description)


def _run(settings: Settings, images: Path) -> _Story:
    """The whole story; the second and third call find all but the parity in the store."""
    context = settings.context
    name = "quick" if settings.quick else profiles.target(TARGET).recipe
    settings.say(f"edgetl run, recipe {name}")
    out = settings.work / "int8"
    results = api.run(images, targets=[TARGET], out=out, recipe=name, context=context)
    if error := results["engines"][0]["error"]:
        raise EdgetlError(error)
    api.train(images, out / "model", context=context)
    api.export(out / "model", out / "float.onnx", context=context)
    bundle = load(out / results["engines"][0]["bundle"])
    chosen = choose(load_dataset(images).train, profiles.recipe(name))
    calibration = [preprocess(sample.path, bundle.contract)[None] for sample in chosen]
    return _Story(results, out / "float.onnx", bundle.bundle, calibration)


def _latencies(settings: Settings, story: _Story) -> Mapping[str, Latency]:
    folder = settings.folder("int8-peers")
    settings.say(f"plain quantization with {len(story.calibration)} images")
    ir = as_ir(story.onnx, folder)
    nncf = peers.plain_nncf(ir, story.calibration, folder / "nncf.xml")
    ort = peers.plain_onnxruntime(story.onnx, story.calibration, folder / "ort.onnx")
    openvino, onnxruntime = get_backend("openvino"), get_backend("onnxruntime")
    sessions: dict[str, Session] = {
        "edgetl": load(story.bundle).session,
        "openvino": openvino.load(ir, OPENVINO),
        "ort": onnxruntime.load(story.onnx, ONNXRUNTIME),
        "nncf": openvino.load(nncf, peers.NNCF),
        "ort-int8": onnxruntime.load(ort, ONNXRUNTIME),
    }
    settings.say("latency of five engines, interleaved")
    options = LatencyOptions(rounds=10 if settings.quick else 20, min_samples=100)
    image = np.ascontiguousarray(story.calibration[0])
    found = {}
    for name, latency in measure(sessions, image, options).items():
        if isinstance(latency, EdgetlError):
            raise latency
        found[name] = latency
    return found


def _faster(latencies: Mapping[str, Latency], name: str, against: str, threshold: float) -> Goal:
    ratio = paired_ratio(latencies[name], latencies["edgetl"])
    mine, theirs = latencies["edgetl"].p50.value, latencies[name].p50.value
    note = f"{mine:.2f} ms against {theirs:.2f}"
    if threshold == NOISE:
        note += "; no slower, but for 3 % of noise"
    return Goal(
        AREA,
        "EfficientNet-Lite0, batch 1, p50, faster by",
        ratio.value,
        "x",
        against,
        ">=",
        threshold,
        ratio.low,
        ratio.high,
        f"95 %, {ratio.n} interleaved rounds",
        note,
    )


def _drop(results: dict[str, Any], description: str) -> Goal:
    drop = results["engines"][0]["drop_points"]
    return Goal(
        AREA,
        "accuracy lost to INT8",
        drop["value"],
        "points",
        f"edgetl's float engine on the same {drop['n']} held-out images of {description}",
        "<=",
        0.5,
        drop["low"],
        drop["high"],
        "95 %, paired",
        f"recipe {results['engines'][0]['recipe']}",
    )
