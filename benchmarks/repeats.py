"""Whether ``edgetl bench`` says the same when it is asked again."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator

from benchmarks.bundles import bundles
from benchmarks.goal import Goal
from benchmarks.settings import CLI, Settings, python
from edgetl.quantity import Quantity

AREA = "device"
_RUNS = 10


def goals(settings: Settings) -> Iterator[Goal]:
    runs = 3 if settings.quick else _RUNS
    made = bundles(settings)
    pairs = {"two INT8 engines": made.other, "INT8 and FP32": made.floating}
    ratios: dict[str, list[Quantity]] = {name: [] for name in pairs}
    for number in range(runs):
        for name, base in pairs.items():
            settings.say(f"edgetl bench, {name}, run {number + 1} of {runs}")
            command = [
                *CLI,
                "bench",
                str(made.int8()),
                "--against",
                str(base),
                "--brief",
                "--seconds",
                "1",
                "--json",
            ]
            answer = json.loads(python(command, store=settings.work / "store"))
            ratios[name].append(Quantity.from_dict(answer["engines"][0]["against"]["ratio"]))
    for name, found in ratios.items():
        yield from _goals(name, found)


def _goals(name: str, ratios: list[Quantity]) -> Iterator[Goal]:
    values = [ratio.value for ratio in ratios]
    pooled = statistics.median(values)
    against = f"{len(ratios)} runs of edgetl bench --against, each in a process of its own"
    yield Goal(
        AREA,
        f"spread of the paired ratio of {name}, max / min",
        max(values) / min(values),
        "",
        against,
        "<=",
        1.05,
        note=f"ratios {min(values):.4f} .. {max(values):.4f}",
    )
    held = [r.low is not None and r.high is not None and r.low <= pooled <= r.high for r in ratios]
    yield Goal(
        AREA,
        f"intervals of {name} that hold the pooled median",
        sum(held) / len(held),
        "",
        against,
        ">=",
        0.9,
    )
