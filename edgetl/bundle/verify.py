"""Does a bundle's engine still compute what it did when it was made?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import Session
from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.runtime import open_session
from edgetl.bundle.write import GOLDEN_INPUT, GOLDEN_OUTPUT
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
    answers = np.concatenate([session.run(image[None]) for image in images])
    if answers.shape != expected.shape:
        raise BundleError(
            f"{folder}: the engine has {answers.shape[1]} outputs for {expected.shape[1]} labels"
        )
    same_device = manifest.device == fingerprint(environment())
    tolerance = SAME_DEVICE_TOLERANCE if same_device else OTHER_DEVICE_TOLERANCE
    replay = Replay(
        n=len(images),
        max_abs=float(np.abs(answers - expected).max()),
        allowed=tolerance * float(expected.std()),
        same_top1=bool((answers.argmax(1) == expected.argmax(1)).all()),
        same_device=same_device,
        simulated=simulated,
        replayed=replayed,
    )
    if replay.max_abs > replay.allowed or (same_device and not replay.same_top1):
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
            return get_backend(spec.backend).load(folder / spec.file, spec), spec.file, str(error)
        except (BackendError, MissingDependencyError) as second:
            raise BackendError(f"all digests match, but nothing can replay it: {error}; {second}") from error


def read_golden(folder: Path, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Golden input, ``uint8 [n, H, W, 3]``, and output, ``float32 [n, classes]``.

    Raises:
        BundleError: if they can't be read or do not fit the manifest.
    """
    try:
        images, expected = (_read_array(folder / name) for name in (GOLDEN_INPUT, GOLDEN_OUTPUT))
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{folder}: golden files can't be read: {error}") from error
    n = len(images) if images.ndim else 0
    if (
        n == 0
        or images.dtype != np.uint8
        or images.shape != (n, *manifest.contract.input_shape)
        or expected.dtype != np.float32
        or expected.shape != (n, len(manifest.labels))
    ):
        raise BundleError(f"{folder}: golden files do not fit the manifest")
    return images, expected


def _read_array(path: Path) -> np.ndarray:
    """An ``.npy`` file and nothing else: ``np.load`` would also open archives and pickles."""
    with path.open("rb") as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array
