"""The example backend, spoiled in one way a class; two at the end are not. A package of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from edgetl_numpy import NumpyBackend

from edgetl.backends.base import PORTABLE, EngineSpec, Placement, Precision, Proof, Session
from edgetl.errors import BackendError, InputError
from edgetl.quantity import Quantity


class Named(NumpyBackend):
    """Called as its class is, which is what the registry knows it by."""

    def __init__(self) -> None:
        self.name = type(self).__name__


class Changed(Session):
    """A session that hands on to another one."""

    def __init__(self, inner: Session, **changes: Any) -> None:
        self.inner = inner
        self.input_shape = inner.input_shape
        self.__dict__.update(changes)

    def _run(self, images: Any) -> Any:
        return self.inner._run(images)

    def run_many(self, batches: Any, consume: Any) -> None:
        self.inner.run_many(batches, consume)

    def precision(self) -> Precision:
        return self.inner.precision()

    def placement(self) -> Placement:
        return self.inner.placement()


class HalfPlacedBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        return Changed(super().load(engine, spec), placement=lambda: Placement("cpu", 0.5, None))


class DeniesElsewhereBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        return Changed(super().load(engine, spec), placement=lambda: Placement("cpu", 1.0, 1.0, ("conv0",)))


class EchoesPrecisionBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        asked = Precision(spec.precision, spec.precision, "f32", {spec.precision: 4})
        return Changed(super().load(engine, spec), precision=lambda: asked)


class ManyLinesBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        try:
            return super().load(engine, spec)
        except BackendError as error:
            raise BackendError(f"{error}\nat line 3") from error


class NamelessErrorBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        try:
            return super().load(engine, spec)
        except BackendError as error:
            raise BackendError("cannot load the engine") from error


class WrongErrorBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        try:
            return super().load(engine, spec)
        except BackendError as error:
            raise ValueError(str(error)) from error


class BlamesTheUserBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        try:
            return super().load(engine, spec)
        except BackendError as error:
            raise InputError(str(error)) from error


class DiesBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        try:
            return super().load(engine, spec)
        except BackendError:
            os.abort()


class LoadsHalfAnEngineBackend(Named):
    """Takes zeros for what is cut off."""

    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        try:
            return super().load(engine, spec)
        except BackendError:
            session = super().load(Path(os.environ["BROKEN_ENGINE"]), spec)
            return Changed(session, _run=lambda images: np.zeros((len(images), 3), np.float32))


class AnyDeviceBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        from dataclasses import replace

        return super().load(engine, replace(spec, device="cpu"))


class EstimatesWithoutKindBackend(Named):
    def proof(self, engine: Any, spec: Any) -> Proof:
        return Proof(None, None, {}, {"source": "a table", "latency_ms": 1.5})


class EstimatesAsMeasuredBackend(Named):
    def proof(self, engine: Any, spec: Any) -> Proof:
        latency = Quantity(1.5, None, None, 1).to_dict()
        return Proof(None, None, {}, {"source": "a table", "latency_ms": latency})


class EstimatesWithoutSourceBackend(Named):
    def proof(self, engine: Any, spec: Any) -> Proof:
        latency = Quantity(1.5, None, None, 1, "estimated").to_dict()
        return Proof(None, None, {}, {"latency_ms": latency})


class RandomWeightsBackend(Named):
    """Another engine every time."""

    def build(self, model: Any, target: Any, folder: Any) -> str:
        changed = onnx.load(model)
        for tensor in changed.graph.initializer:
            if tensor.name == "edgetl_head_bias":
                bias = onnx.numpy_helper.to_array(tensor) + np.random.default_rng().normal(0, 0.01, 3)
                tensor.CopyFrom(onnx.numpy_helper.from_array(bias.astype(np.float32), tensor.name))
        onnx.save(changed, folder / "changed.onnx")
        name = super().build(folder / "changed.onnx", target, folder)
        (folder / "changed.onnx").unlink()
        return name


class RandomRangesBackend(Named):
    """Another quantized model every time."""

    def quantize(
        self, model: Any, calibration: Any, recipe: Any, target: Any, keep_float: Any, out: Any
    ) -> None:
        super().quantize(model, calibration, recipe, target, keep_float, out)
        changed = onnx.load(out)
        for tensor in changed.graph.initializer:
            if tensor.name.endswith("_scale") and not tensor.dims:
                scale = onnx.numpy_helper.to_array(tensor) * np.random.default_rng().uniform(1, 1.02)
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(scale), tensor.name))
        onnx.save(changed, out)


class SwallowsBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        session = super().load(engine, spec)

        def run_many(batches: Any, consume: Any) -> None:
            try:
                session.run_many(batches, consume)
            except Exception:
                return

        return Changed(session, run_many=run_many)


class LosesTheLastBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        session = super().load(engine, spec)

        def run_many(batches: Any, consume: Any) -> None:
            session.run_many(iter(list(batches)[:-1]), consume)

        return Changed(session, run_many=run_many)


class ReusesItsBufferBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        session = super().load(engine, spec)
        buffer = np.zeros((1, 3), np.float32)

        def run(images: Any) -> Any:
            buffer[:] = session.run(images)
            return buffer

        return Changed(session, _run=run)


class TakesAnythingBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        session = super().load(engine, spec)

        def run(images: Any) -> Any:
            return session.run(np.zeros((len(images), 32, 32, 3), np.uint8))

        return Changed(session, run=run)


class WrongAnswersBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        session = super().load(engine, spec)
        return Changed(session, _run=lambda images: -session.run(images))


class DoublesBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        session = super().load(engine, spec)
        return Changed(session, _run=lambda images: session.run(images).astype(np.float64))


class MixesBatchesUpBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        session = super().load(engine, spec)
        return Changed(session, _run=lambda images: session.run(images[::-1]))


class LosesTheContractBackend(Named):
    dialect = "bare"

    def prepare(self, model: Any, target: Any, out: Any) -> None:
        bare = onnx.load(model)
        del bare.metadata_props[:]
        onnx.save(bare, out)


class HoardsBackend(Named):
    def quantize(
        self, model: Any, calibration: Any, recipe: Any, target: Any, keep_float: Any, out: Any
    ) -> None:
        from edgetl.backends.base import Calibration

        images = list(calibration.batches())
        all_of_them = Calibration(lambda: iter(images), len(images))
        super().quantize(model, all_of_them, recipe, target, keep_float, out)


class KeepsNothingBackend(Named):
    def quantize(
        self, model: Any, calibration: Any, recipe: Any, target: Any, keep_float: Any, out: Any
    ) -> None:
        super().quantize(model, calibration, recipe, target, (), out)


class QuantizesNothingBackend(Named):
    def quantize(
        self, model: Any, calibration: Any, recipe: Any, target: Any, keep_float: Any, out: Any
    ) -> None:
        out.write_bytes(model.read_bytes())


class RefusesBackend(Named):
    def build(self, model: Any, target: Any, folder: Any) -> str:
        raise BackendError(f"cannot build {model.name}: out of memory")


class PrintsBackend(Named):
    def build(self, model: Any, target: Any, folder: Any) -> str:
        os.write(1, b"E: Unkown op target: 0\n")
        return super().build(model, target, folder)


class RaisesWhenAskedBackend(Named):
    def available(self) -> Any:
        raise RuntimeError("no driver")


class NeedsAPackageBackend(Named):
    def available(self) -> Any:
        import onnxruntime

        assert onnxruntime.__version__
        return super().available()


class LetsThroughBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        import onnxruntime

        assert onnxruntime.__version__
        return super().load(engine, spec)


class NoReasonBackend(Named):
    def available(self) -> Any:
        from edgetl.backends.base import Availability

        return Availability(False)


class SupportsAllBackend(Named):
    def supports(self, model: Any, target: Any) -> list[str]:
        return []


class NoSimulatorBackend(Named):
    def obstacle(self, target: Any) -> str:
        return "there is no such chip here"


class LongObstacleBackend(Named):
    def obstacle(self, target: Any) -> str:
        return "there is no such chip here\nsee the manual"


class HeavyBackend(Named):
    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        import onnx as needed

        assert needed.__name__
        return super().load(engine, spec)


class ForgetsVersionsBackend(Named):
    def versions(self) -> dict[str, str]:
        return {}


class Elsewhere(Named):
    """Not spoiled: an engine for a chip that is not here, proved by its builder."""

    def obstacle(self, target: Any) -> str:
        return "there is no such chip here"

    def proof(self, engine: Any, spec: Any) -> Proof:
        found = super().load(engine, spec)
        latency = Quantity(1.5, None, None, 1, "estimated").to_dict()
        estimate = {"source": "a table", "latency_ms": latency}
        return Proof(found.precision(), Placement("chip", 1.0, None), {}, estimate)

    def load(self, engine: Any, spec: Any, *, throughput: bool = False) -> Session:
        raise BackendError(f"{engine.name} runs on the chip, which is not here")


class OnThePortableModel(Elsewhere):
    def simulator(self, spec: Any) -> EngineSpec:
        return EngineSpec("onnxruntime", PORTABLE, spec.precision, "f32", "CPUExecutionProvider")


class OnTheEngineItself(Elsewhere):
    def simulator(self, spec: Any) -> EngineSpec:
        return EngineSpec("numpy", spec.file, spec.precision, "f32", "cpu")
