"""Does a bundle's engine still compute what it did when it was made?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgetl.backends.base import Session
from edgetl.bundle.check import check_files
from edgetl.bundle.golden import read_golden
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.runtime import load_engine, open_session, runtime_errors
from edgetl.device.environment import environment, fingerprint
from edgetl.errors import BackendError, BundleError, MissingDependencyError

SAME_DEVICE_TOLERANCE = 1e-3
OTHER_DEVICE_TOLERANCE = 0.25
"""Largest golden difference allowed, relative to the logits' spread; integer kernels differ between CPUs."""


@dataclass(frozen=True)
class Replay:
    """The golden input run again.

    Attributes:
        n: number of golden images.
        max_abs: largest absolute difference of a logit.
        allowed: what would have been accepted.
        same_top1: whether every image got the class it got when the bundle was made.
        same_device: whether this is the kind of machine the bundle was made on.
        simulated: why the engine itself could not be loaded, so that the simulator which gave the golden
            output ran again; None if the engine answered.
        replayed: the file that was run, relative to the bundle.
    """

    n: int
    max_abs: float
    allowed: float
    same_top1: bool
    same_device: bool
    simulated: str | None = None
    replayed: str = ""


def verify(bundle: str | Path) -> Replay:
    """Check digests, load the engine and replay the golden input.

    An engine that can't be loaded here is left alone if a simulator gave its golden output: then that
    simulator runs what it ran before, the portable model or a file beside the engine, and the result says so.

    Raises:
        BundleError: if a file was altered, or the engine's answers changed.
    """
    folder = Path(bundle)
    manifest = check_files(folder)
    images, expected = read_golden(folder, manifest)
    session, replayed, simulated = _session(folder, manifest)
    with runtime_errors("run", folder / replayed):
        answers = np.concatenate([session.run(image[None]) for image in images])
    if answers.shape != expected.shape:
        raise BundleError(
            f"{folder}: the engine gives {list(answers.shape[1:])} outputs for {expected.shape[1]} labels"
        )
    same_device = manifest.device == fingerprint(environment())
    tolerance = SAME_DEVICE_TOLERANCE if same_device else OTHER_DEVICE_TOLERANCE
    replay = Replay(
        n=len(images),
        max_abs=float(np.abs(answers - expected).max()),
        allowed=tolerance * float(expected.std(dtype=np.float64)),
        same_top1=bool((answers.argmax(1) == expected.argmax(1)).all()),
        same_device=same_device,
        simulated=simulated,
        replayed=replayed,
    )
    close = replay.max_abs <= replay.allowed  # NaN is not
    if not close or (same_device and not replay.same_top1):
        raise BundleError(
            f"{folder}: golden replay differs by {replay.max_abs:.3g} (allowed {replay.allowed:.3g}); "
            "the engine does not compute here what it computed when it was made"
        )
    return replay


def _session(folder: Path, manifest: Manifest) -> tuple[Session, str, str | None]:
    """The engine's session with its file, or its simulator's with the reason."""
    try:
        return open_session(folder, manifest), manifest.engine.file, None
    except (BackendError, MissingDependencyError) as error:
        spec = manifest.simulator
        if spec is None:
            raise BackendError(
                f"all digests match, but the golden input can't be replayed: {error}"
            ) from error
        try:
            return load_engine(folder / spec.file, spec), spec.file, str(error)
        except (BackendError, MissingDependencyError) as second:
            raise BackendError(f"all digests match, but nothing can replay it: {error}; {second}") from error
