"""What one machine finds out about a bundle. Runs on the device; needs no torch, no onnx, no profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.bundle.arrays import read_array
from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.write import ENGINE, GOLDEN_INPUT, PORTABLE
from edgetl.context import Context
from edgetl.data import Sample
from edgetl.device.lock import measuring_alone
from edgetl.engines import Engine, Standing, standing
from edgetl.errors import EdgetlError, InputError
from edgetl.files import digest_of
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.details import Subject, Wanted, contradictions, measure_details
from edgetl.measurement.stage import Speed, measure_accuracy, measure_speed, untimed

if TYPE_CHECKING:
    from edgetl.profiles import Target

__all__ = ["Findings", "Task", "Wanted", "bundled_engine", "find"]


@dataclass(frozen=True)
class Task:
    """A bundle, and what is to be found out about it.

    Attributes:
        samples: labelled images that the bundle was not trained on; none for no accuracy.
        target: the profile the bundle was made for, where it is known.
        against: another bundle, whose engine takes turns with this one's.
    """

    bundle: Path
    samples: Sequence[Sample]
    wanted: Wanted
    target: Target | None
    against: Path | None = None


@dataclass(frozen=True)
class Findings:
    """What a machine found out.

    Attributes:
        environment: of that machine.
        machine: what decides its speed, see ``device.environment.pace``.
        standing: what its results are worth for the bundle's target.
        predictions: None where there were no images.
        speed: with nothing timed on an emulated machine.
        details: see ``measurement.details``.
    """

    environment: Mapping[str, Any]
    machine: str
    standing: Standing
    predictions: Predictions | None
    speed: Speed
    details: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the logits."""
        found = self.predictions
        return {
            "environment": dict(self.environment),
            "machine": self.machine,
            "standing": asdict(self.standing),
            "predictions": {"rows": list(found.rows), "unreadable": found.unreadable} if found else None,
            "speed": asdict(self.speed),
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any], logits: np.ndarray | None) -> Findings:
        """The reverse of ``to_dict``.

        Raises:
            KeyError, TypeError, ValueError: if it is not what ``to_dict`` writes.
        """
        told = facts["predictions"]
        predictions = None
        if told is not None and logits is not None:
            predictions = Predictions(tuple(map(int, told["rows"])), logits, dict(told["unreadable"]))
            if logits.dtype != np.float32 or logits.ndim != 2 or len(logits) != len(predictions.rows):
                raise ValueError("logits don't fit the rows")
        return cls(
            environment=dict(facts["environment"]),
            machine=str(facts["machine"]),
            standing=Standing(**facts["standing"]),
            predictions=predictions,
            speed=Speed(**facts["speed"]),
            details=dict(facts["details"]),
        )


def find(context: Context, task: Task) -> Findings:
    """Accuracy, speed and placement of a bundle's engine on this machine.

    Raises:
        BundleError: if the bundle was altered.
        EdgetlError: if the engine can't be loaded or run.
    """
    with measuring_alone(context.observer.note):
        return _find(context, task, _standing(context, task.target))


def _find(context: Context, task: Task, here: Standing) -> Findings:
    manifest = check_files(task.bundle)
    engine = bundled_engine(task.bundle, manifest, here)
    other = _comparable(task.against, manifest, here) if task.against else None
    engine.open()  # one that can't be loaded here is an error before anything is measured
    predictions = None
    if task.samples:
        predictions = measure_accuracy(context, engine, task.samples, manifest.contract)
    image = read_array(task.bundle / GOLDEN_INPUT, np.dtype(np.uint8))[0]
    if not here.latency:
        return Findings(context.environment, context.pace, here, predictions, untimed(engine), {})
    [speed] = measure_speed(context, [engine], image, task.wanted.options, again=task.wanted.again)
    if isinstance(speed, str):
        raise EdgetlError(speed)
    pictures = [sample.path for sample in task.samples]
    subject = Subject(engine, manifest.contract, image, pictures, other)
    details = measure_details(context, subject, task.wanted)
    speed = _doubted(speed, details)
    return Findings(context.environment, context.pace, here, predictions, speed, details)


def _doubted(speed: Speed, details: Mapping[str, Any]) -> Speed:
    """With a note where later figures contradict the latency."""
    latency = speed.latency
    if latency is None:
        return speed
    rate = speed.throughput["value"] if speed.throughput else None
    notes = contradictions(latency["p50"]["value"], rate, details)
    return replace(speed, latency={**latency, "notes": [*latency["notes"], *notes]})


def _comparable(bundle: Path, manifest: Manifest, here: Standing) -> Engine:
    """The engine of a bundle that takes the same input as another.

    Raises:
        InputError: if it does not.
    """
    other = check_files(bundle)
    if other.contract.input_shape != manifest.contract.input_shape:
        raise InputError(f"{bundle} takes {other.contract.input_shape}, not {manifest.contract.input_shape}")
    return bundled_engine(bundle, other, here)


def bundled_engine(bundle: Path, manifest: Manifest, here: Standing) -> Engine:
    """The engine of a bundle whose files were checked."""
    digest = engine_digest(manifest)
    return Engine(manifest.target, manifest.engine, bundle, digest, bundle / PORTABLE, here)


def engine_digest(manifest: Manifest) -> str:
    """Over all files of a bundle's engine."""
    files = manifest.files.items()
    return digest_of({name: facts["sha256"] for name, facts in files if name.startswith(f"{ENGINE}/")})


def _standing(context: Context, target: Target | None) -> Standing:
    """Results are this machine's, whatever the bundle was made for; an emulated one's times are nobody's."""
    if emulated := context.environment["emulated"]:
        return Standing("simulated", False, f"this machine is emulated by {emulated}, so nothing was timed")
    found = standing(target, context.environment) if target else None
    reason = found.reason if found else None
    if target is None or reason is None:
        return Standing("measured", True)
    return replace(
        Standing("measured", True),
        reason=f"{reason}; these numbers are this machine's, not {target.name}'s",
    )
