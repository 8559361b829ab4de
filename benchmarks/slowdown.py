"""Whether a planted slow-down of 5 % is called a regression, and no change is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bundles import bundles
from benchmarks.goal import Goal
from benchmarks.settings import Settings
from edgetl.bundle.manifest import Manifest, read_manifest
from edgetl.comparing import compare
from edgetl.context import Context
from edgetl.elsewhere import section_of
from edgetl.engines import Engine, Standing
from edgetl.errors import EdgetlError
from edgetl.findings import Findings, bundled_engine
from edgetl.measurement.engine import Images, Logits, Runnable
from edgetl.measurement.latency import LatencyOptions
from edgetl.measurement.stage import Speed, measure_speed
from edgetl.measurement.turns import in_turns
from edgetl.quantity import proportion
from edgetl.results import Scene, document

AREA = "device"
_PLANTED = 0.05
_TRIALS = 20
_OPTIONS = LatencyOptions(round_seconds=0.05, min_samples=64, max_seconds=2.0)


class Slowed:
    """An engine whose every run takes longer by the same share, spent on its own processor."""

    def __init__(self, engine: Runnable, share: float) -> None:
        self._engine, self._share = engine, share

    def run(self, images: Images) -> Logits:
        begin = time.perf_counter()
        output = self._engine.run(images)
        now = time.perf_counter()
        end = now + self._share * (now - begin)
        while time.perf_counter() < end:
            pass
        return output

    def run_many(self, batches: Iterator[Images], consume: Callable[[int, Logits], None]) -> None:
        self._engine.run_many(batches, consume)


def goals(settings: Settings) -> Iterator[Goal]:
    trials = 3 if settings.quick else _TRIALS
    trial = _Trial(settings.context, bundles(settings).int8())
    for what, added, comparison, threshold in (
        ("trials that call a planted 5 % slow-down a regression", _PLANTED, ">=", 0.95),
        ("trials that call no change a regression or an improvement", 0.0, "<=", 0.05),
    ):
        called = 0
        for number in range(trials):
            settings.say(f"{added:.0%} slower, trial {number + 1} of {trials}")
            verdict = trial.verdict(added)
            called += verdict == "regression" or (not added and verdict == "improvement")
        share = proportion(called, trials)
        yield Goal(
            AREA,
            what,
            share.value,
            "",
            f"edgetl compare of two benches in turns, {trials} trials",
            ">=" if comparison == ">=" else "<=",
            threshold,
            share.low,
            share.high,
        )


class _Trial:
    """One engine, compared with itself or with its slowed self as ``edgetl bench --baseline`` does."""

    def __init__(self, context: Context, bundle: Path) -> None:
        self._context, self._bundle = context, bundle
        self._manifest: Manifest = read_manifest(bundle)
        self._engine: Engine = bundled_engine(bundle, self._manifest, Standing("measured", True))
        height, width, _ = self._manifest.contract.input_shape
        self._image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        self._base = self._document(self._speed(), {})

    def verdict(self, added: float) -> str:
        """What ``edgetl compare`` says of the p50 of an engine that takes longer by this share."""

        def slowed() -> Runnable:
            return Slowed(self._engine.open(), added)

        turns = in_turns(self._engine.open, slowed, self._image, pairs=20)
        against = {"digest": self._engine.digest, "ratio": turns.ratio.to_dict()}
        new = self._document(self._speed(), {"against": against})
        [compared] = compare(self._base, new).engines
        return next(check.verdict for check in compared.checks if check.name == "p50 latency")

    def _speed(self) -> Speed:
        [speed] = measure_speed(self._context, [self._engine], self._image, _OPTIONS, again=True)
        if isinstance(speed, str):
            raise EdgetlError(speed)
        return speed

    def _document(self, speed: Speed, details: dict[str, Any]) -> dict[str, Any]:
        context, standing = self._context, Standing("measured", True)
        findings = Findings(context.environment, context.machine, standing, None, speed, details)
        scene = Scene(_nothing(self._manifest), self._manifest.contract, None)
        section = section_of(scene, self._bundle, findings, recipe=None, refit=None)
        return document(
            scene, context.environment, train=None, export=None, fp32={"accuracy": None}, engines=[section]
        )


def _nothing(manifest: Manifest) -> Any:
    from edgetl.data import Dataset

    return Dataset(Path(), manifest.labels, (), (), (), (), ())
