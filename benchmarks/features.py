"""Feature extraction, decoding and storing included, against the vendor's bare inference loop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from benchmarks import data, vendor
from benchmarks.goal import Goal
from benchmarks.models import OPENVINO, backbone
from benchmarks.rounds import alternate
from benchmarks.settings import Settings
from edgetl.context import open_throughput
from edgetl.store import Store
from edgetl.transfer.features import extract

AREA = "features"


def goals(settings: Settings) -> Iterator[Goal]:
    model = backbone(settings)
    samples, description = data.small_jpegs(settings, 300 if settings.quick else 1500)
    rounds, seconds = 3, 3 if settings.quick else 8
    numbers = itertools.count()

    def ours() -> float:
        # loading is left out, as benchmark_app leaves it out
        session = open_throughput(model.ir, OPENVINO)
        store = Store(settings.work / f"features-{next(numbers)}")
        start = time.perf_counter()
        extract(lambda: session, samples, model.contract, store, {})
        return len(samples) / (time.perf_counter() - start)

    settings.say(f"{rounds} rounds of extraction and benchmark_app")
    figures = alternate(ours, lambda: vendor.throughput(model.ir, seconds), rounds)
    yield Goal(
        AREA,
        "extraction (decode, resize, infer, store; loading excluded on both sides)",
        figures.ratio,
        "x",
        f"benchmark_app -hint throughput f32, same IR, {_rates(figures.theirs)} img/s; on {description}",
        ">=",
        0.85,
        min(figures.ratios),
        max(figures.ratios),
        f"min..max of {rounds} rounds",
    )


def _rates(values: list[float]) -> str:
    return "/".join(f"{value:.0f}" for value in values)
