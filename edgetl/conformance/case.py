"""One backend on the tiny network: a target, pictures, and engines made the way a run makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from edgetl import profiles
from edgetl.backends import get_backend
from edgetl.backends.base import Backend, Calibration, Float32, Session, UInt8
from edgetl.conformance.checking import NotApplicable, flat
from edgetl.conformance.network import Network, answers, pictures, write_network, write_with_head
from edgetl.context import Context
from edgetl.engines import Engine, Standing, build_engine, standing
from edgetl.errors import EdgetlError, InputError
from edgetl.exporting.head import HeadRanges
from edgetl.profiles import Precision, Recipe, Target
from edgetl.store import Store

IMAGES = 12
PRECISIONS: tuple[Precision, ...] = ("f32", "int8")
RECIPE = Recipe(name="conformance", title="for the conformance kit", images=IMAGES)


class Case:
    """What the checks of one backend work on; everything is made when it is first asked for, and once.

    Attributes:
        target: with a batch of one.
        calibration: twelve pictures, other ones than those that answers are compared on.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target.model_copy(update={"batch": 1})
        self.name = target.backend
        self.backend: Backend = get_backend(target.backend)
        self.folder = folder
        self.context = Context(Store(folder / "store"))
        self.calibration = calibration_of(pictures(range(100, 100 + IMAGES)))
        self._made: dict[str, Engine | EdgetlError] = {}
        self._scratch = 0

    @cached_property
    def network(self) -> Network:
        return write_network(self.new_folder())

    @cached_property
    def standing(self) -> Standing:
        return standing(self.target, self.context.environment)

    @cached_property
    def images(self) -> UInt8:
        """Pictures to answer for, ``uint8 [n, 32, 32, 3]``: twelve, or what a slow simulator can take."""
        most = None
        if not self.standing.loads:
            most = self.backend.simulated_images(self.engine("int8").spec)
        return pictures(range(min(IMAGES, most or IMAGES)))

    @cached_property
    def exact(self) -> Float32:
        """Logits ``float32 [n, 3]`` of the float network for the images."""
        return answers(self.network.model, self.images)

    @cached_property
    def backbone(self) -> Path:
        """The backbone as INT8 QDQ ONNX."""
        return self.quantize(self.network.backbone)

    def new_folder(self) -> Path:
        self._scratch += 1
        folder = self.folder / f"{self._scratch:03}"
        folder.mkdir(parents=True)
        return folder

    def quantize(
        self,
        model: Path,
        *,
        recipe: Recipe = RECIPE,
        keep: Sequence[str] = (),
        calibration: Calibration | None = None,
    ) -> Path:
        """A QDQ ONNX of a float one, by the backend."""
        out = self.new_folder() / "quantized.onnx"
        self.backend.quantize(model, calibration or self.calibration, recipe, self.target, keep, out)
        return out

    def with_head(self, backbone: Path, *, batch: int | None = 1) -> Path:
        """A quantized backbone with the network's head, quantized as the backend wants it."""
        wanted = self.backend.int8_head
        ranges = None
        if wanted is not None:
            seen = pictures(range(100, 100 + IMAGES))
            logits = answers(self.network.model, seen) if wanted == "all" else None
            features = answers(self.network.backbone, seen)
            ranges = HeadRanges(_range(features), None if logits is None else _range(logits))
        out = self.new_folder() / "model.onnx"
        return write_with_head(self.network, backbone, out, batch=batch, ranges=ranges)

    def model(self, precision: Precision, *, batch: int | None = 1) -> Path:
        """What an engine is built from: a float or a QDQ ONNX."""
        if precision == "int8":
            return self.with_head(self.backbone, batch=batch)
        out = self.new_folder() / "model.onnx"
        return write_with_head(self.network, self.network.backbone, out, batch=batch)

    def target_for(self, precision: Precision) -> Target:
        if precision == "int8":
            return self.target
        return self.target.model_copy(update={"precision": precision, "float_precision": precision})

    def build(self, model: Path, target: Target | None = None) -> Engine:
        """A new engine, or the plan of one, with nothing taken from an earlier build.

        Raises:
            EdgetlError: as the backend does.
        """
        context = Context(Store(self.new_folder()))
        context.environment = self.context.environment
        return build_engine(context, model, target or self.target)

    def make(self, precision: Precision) -> Engine:
        """The engine that most checks share.

        Raises:
            EdgetlError: as the backend did when it was made.
        """
        if precision not in self._made:
            try:
                self._made[precision] = self.build(self.model(precision), self.target_for(precision))
            except EdgetlError as error:
                self._made[precision] = error
        found = self._made[precision]
        if isinstance(found, EdgetlError):
            raise found
        return found

    def engine(self, precision: Precision) -> Engine:
        """As :meth:`make`; where there is none the check does not apply, since another one has failed."""
        try:
            return self.make(precision)
        except EdgetlError as error:
            raise NotApplicable(f"no {precision} engine: {flat(error)}") from error

    def loadable(self, precision: Precision) -> Engine:
        """An engine that this machine can load itself."""
        if not self.standing.loads:
            raise NotApplicable(f"engines can't be loaded here: {self.standing.reason}")
        return self.engine(precision)

    def runnable(self, precision: Precision) -> Engine:
        """What runs the engine's own files here: the engine itself, or a simulator that takes them."""
        engine = self.engine(precision)
        if engine.standing.loads:
            return engine
        try:
            answering = engine.answering()
        except EdgetlError as error:
            raise NotApplicable(f"nothing answers here: {flat(error)}") from error
        if answering.folder != engine.folder:
            raise NotApplicable(f"nothing here runs the engine's own files: {engine.standing.reason}")
        return answering

    def session(self, precision: Precision, *, throughput: bool = False) -> Session:
        """What answers for the engine here: itself, or its simulator."""
        return self.open(self.engine(precision), throughput=throughput)

    def open(self, engine: Engine, *, throughput: bool = False) -> Session:
        try:
            answering = engine.answering()
        except EdgetlError as error:
            raise NotApplicable(f"nothing answers here: {flat(error)}") from error
        return answering.open(throughput=throughput)

    def engines(self) -> Iterator[tuple[Precision, Engine]]:
        """The float and the INT8 engine, where the backend makes both."""
        found = [precision for precision in PRECISIONS if self._has(precision)]
        if not found:
            self.engine("int8")
        for precision in found:
            yield precision, self.engine(precision)

    def _has(self, precision: Precision) -> bool:
        try:
            self.make(precision)
        except EdgetlError:
            return False
        return True


def calibration_of(images: UInt8) -> Calibration:
    """A calibration set of ``uint8 [n, 32, 32, 3]``, one image a batch."""
    return Calibration(lambda: (image[None] for image in images), len(images))


def answers_of(session: Session, images: UInt8) -> Float32:
    """Logits of images that are given one by one."""
    return np.concatenate([session.run(image[None]) for image in images])


def choose_target(backend: str, wanted: str | None = None) -> Target:
    """The target a backend is tried on: the one asked for, or the one this machine comes closest to.

    Raises:
        InputError: if the backend has no INT8 target, or the one asked for is another backend's.
    """
    from edgetl.device.environment import environment

    get_backend(backend)
    if wanted is not None:
        target = profiles.target(wanted)
        if target.backend != backend:
            raise InputError(f"target {wanted} is for {target.backend}, not for {backend}")
        return target
    every = [target for target in map(profiles.target, profiles.target_names()) if target.backend == backend]
    every = [target for target in every if target.precision == "int8"]
    if not every:
        raise InputError(
            f"no target profile of precision int8 is for backend {backend}; "
            "write one (see docs/backends.md) and name it with --target"
        )
    facts = environment()

    def distance(target: Target) -> tuple[bool, bool, bool]:
        here = standing(target, facts)
        return (not here.loads, here.kind != "measured", target.made == "on-device")

    return min(every, key=distance)


def _range(values: Float32) -> tuple[float, float]:
    return float(values.min()), float(values.max())
