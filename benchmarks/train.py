"""Training: ``edgetl train`` in fresh processes, between the epochs of the usual recipe."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data, recipe
from benchmarks.goal import Goal
from benchmarks.settings import CLI, Settings, python
from edgetl.quantity import Quantity, proportion

AREA = "train"


@dataclass(frozen=True)
class _Run:
    """One cold ``edgetl train``; ``stage`` is features and head, ``wall`` the whole process, seconds."""

    stage: float
    wall: float
    accuracy: Quantity


def goals(settings: Settings) -> Iterator[Goal]:
    folder, images = data.photographs(settings)
    count = 2 if settings.quick else recipe.EPOCHS
    between = {count} if settings.quick else {count // 2, count}
    runs = [_edgetl(settings, folder, 0)]
    epochs: list[recipe.Epoch] = []
    for epoch in recipe.epochs(folder, count):
        epochs.append(epoch)
        settings.say(f"recipe, epoch {epoch.number}: {epoch.seconds:.1f} s, accuracy {epoch.accuracy:.3f}")
        if epoch.number in between:
            runs.append(_edgetl(settings, folder, len(runs)))
    yield from (_seconds(runs, images), _wall(runs, images))
    yield from (_ratio(runs, epochs, images), _accuracy(runs, epochs, images))


def _edgetl(settings: Settings, folder: Path, number: int) -> _Run:
    settings.say("edgetl train, cold")
    store, out = settings.work / f"train-store-{number}", settings.work / f"train-model-{number}"
    start = time.perf_counter()
    facts = json.loads(python([*CLI, "train", str(folder), "-o", str(out), "--json"], store=store))
    wall = time.perf_counter() - start
    seconds = facts["seconds"]
    accuracy = Quantity.from_dict(facts["metrics"]["accuracy"])
    return _Run(seconds["features"] + seconds["head"], wall, accuracy)


def _seconds(runs: list[_Run], images: str) -> Goal:
    stages = [run.stage for run in runs]
    return Goal(
        AREA,
        "edgetl's features and head, cold",
        statistics.median(stages),
        "s",
        f"15 s; on {images}",
        "<=",
        15.0,
        min(stages),
        max(stages),
        f"min..max of {len(runs)} processes",
    )


def _wall(runs: list[_Run], images: str) -> Goal:
    walls = [run.wall for run in runs]
    return Goal(
        AREA,
        "edgetl train, cold, the whole process (imports torch and exports the backbone, once ever)",
        statistics.median(walls),
        "s",
        f"nothing; on {images}",
        low=min(walls),
        high=max(walls),
        interval=f"min..max of {len(runs)} processes",
    )


def _ratio(runs: list[_Run], epochs: list[recipe.Epoch], images: str) -> Goal:
    stages = [run.stage for run in runs]
    total = sum(epoch.seconds for epoch in epochs)
    what = "edgetl's features and head, faster by"
    told = f"the usual recipe (torch, frozen, batch {recipe.BATCH}, {recipe.EPOCHS} epochs); on {images}"
    if len(epochs) < recipe.EPOCHS:
        note = f"not measured in full: {len(epochs)} epochs took {total:.1f} s, the rest is not guessed"
        return Goal(AREA, what, None, "x", told, ">=", 100.0, note=note)
    return Goal(
        AREA,
        what,
        total / statistics.median(stages),
        "x",
        told,
        ">=",
        100.0,
        total / max(stages),
        total / min(stages),
        f"min..max of {len(runs)} processes",
        f"the recipe took {total:.0f} s, imports and building not counted",
    )


def _accuracy(runs: list[_Run], epochs: list[recipe.Epoch], images: str) -> Goal:
    ours = runs[0].accuracy
    best = max(epoch.accuracy for epoch in epochs)
    theirs = proportion(round(best * ours.n), ours.n)
    difference, low, high = newcombe(ours, theirs)
    told = f"the recipe's best epoch on the same {ours.n} validation images; {images}"
    what = "edgetl's validation accuracy less the recipe's"
    note = f"{ours.value:.4f} against {best:.4f}"
    if len(epochs) < recipe.EPOCHS:
        short = f"not measured in full: {note} after {len(epochs)} epochs"
        return Goal(AREA, what, None, "points", told, ">=", 0.0, note=short)
    interval = "95 %, as if unpaired"
    return Goal(AREA, what, difference, "points", told, ">=", 0.0, low, high, interval, note)


def newcombe(a: Quantity, b: Quantity) -> tuple[float, float, float]:
    """Difference of two proportions in points, with its interval (Newcombe, *Stat. Med.*, 1998)."""
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    difference = a.value - b.value
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    return 100 * difference, 100 * (difference - below), 100 * (difference + above)
