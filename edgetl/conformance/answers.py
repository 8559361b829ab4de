"""Contract, answers, batches, throughput and wrong input: what a session must do with pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from edgetl.backends.base import Float32, Session, UInt8
from edgetl.conformance.case import Case, answers_of
from edgetl.conformance.checking import Checks, Failed, flat, must_refuse, refusal, require
from edgetl.conformance.network import CLASSES, CONTRACT, SIDE, pictures
from edgetl.contract.onnx_prefix import INPUT, read_contract, read_labels
from edgetl.errors import InputError
from edgetl.profiles import Precision

contract = Checks("contract")
answer = Checks("answers")
batch = Checks("batch")
throughput = Checks("throughput")
wrong_input = Checks("input")

ALL = (contract, answer, batch, throughput, wrong_input)

_SAME = 1e-3
"""Largest difference between answers that should be equal, in standard deviations of the logits."""
_CORRELATION = 0.93
"""At least this much with the float model; NNCF clips the loudest of few calibration images."""
_FIXED_BATCH = 4


@contract("the float and the INT8 model become engines")
def becomes_an_engine(case: Case) -> str | None:
    said = refusal(lambda: case.make("int8"), "building the INT8 engine")
    if said is not None:
        raise Failed(str(said))
    if case.make("int8").planned:
        return f"a plan for the device: {case.standing.reason}"
    said = refusal(lambda: case.make("f32"), "building the float engine")
    return f"no float engine: {said}" if said else None


@contract("the portable model takes uint8 [N, H, W, 3] and gives float32 logits")
def portable_keeps_the_interface(case: Case) -> None:
    for _, engine in case.engines():
        graph = onnx.load(engine.portable).graph
        constants = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in constants]
        require(len(inputs) == 1 and len(graph.output) == 1, "it has more than one input or output")
        name, kind, shape = _interface(inputs[0])
        fits = (name, kind, shape[1:]) == (INPUT, TensorProto.UINT8, [SIDE, SIDE, 3])
        require(fits, f"its input is {name!r}, type {kind}, {shape}")
        _, kind, shape = _interface(graph.output[0])
        fits = kind == TensorProto.FLOAT and shape[1:] == [len(CLASSES)]
        require(fits, f"its output is of type {kind}, {shape}")


def _interface(value: onnx.ValueInfoProto) -> tuple[str, int, list[int]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [size.dim_value for size in tensor.shape.dim]


@contract("contract and labels survive in the portable model")
def metadata_survives(case: Case) -> None:
    for _, engine in case.engines():
        model = onnx.load(engine.portable)
        require(read_contract(model) == CONTRACT, f"{engine.portable.name} carries another contract, or none")
        require(read_labels(model) == CLASSES, f"{engine.portable.name} carries other labels, or none")


@contract("a session takes pictures of its size and gives finite float32 logits")
def session_keeps_the_contract(case: Case) -> None:
    for _, session in _sessions(case):
        require(session.input_shape == CONTRACT.input_shape, f"input_shape is {session.input_shape}")
        for image in case.images[:3]:
            _require_logits(session.run(image[None]), 1)


@answer("the INT8 engine agrees with the float model")
def int8_agrees(case: Case) -> str:
    found = answers_of(case.session("int8"), case.images)
    same = int((found.argmax(1) == case.exact.argmax(1)).sum())
    correlation = float(np.corrcoef(found.ravel(), case.exact.ravel())[0, 1])
    n = len(found)
    said = f"correlation {correlation:.4f}, same class for {same} of {n}"
    require(correlation >= _CORRELATION and same >= n - max(1, n // 12), said)
    return said


@answer("the float engine gives the float model's answers")
def float_agrees(case: Case) -> str:
    found = answers_of(case.session("f32"), case.images)
    worst = float(np.abs(found - case.exact).max())
    said = f"largest difference {worst:.2g} at a spread of {case.exact.std():.2g}"
    require(worst <= 0.01 * case.exact.std(), said)
    return said


@answer("answers are the caller's to keep")
def answers_stay(case: Case) -> None:
    for precision, session in _sessions(case):
        first = session.run(case.images[:1])
        kept = first.copy()
        session.run(case.images[1:2])
        require(np.array_equal(first, kept), f"{precision}: a later run changed an earlier answer")


@answer("two sessions, and two runs of one, give the same answers")
def answers_repeat(case: Case) -> None:
    for precision, session in _sessions(case):
        first, again = (answers_of(session, case.images[:3]) for _ in range(2))
        require(np.array_equal(first, again), f"{precision}: the second run gave other answers")
        other = answers_of(case.session(precision), case.images[:3])
        require(np.array_equal(first, other), f"{precision}: a second session gave other answers")


@batch("any number of images at once gives the single answers, or is refused")
def any_number(case: Case) -> str | None:
    engine = case.engine("int8")
    single = answers_of(case.open(engine), case.images)
    dynamic = case.model("int8", batch=None)
    built = []
    said = refusal(lambda: built.append(case.build(dynamic)), "building a model with a dynamic batch")
    refused = [f"dynamic batch: {said}"] if said else []
    for session in map(case.open, [engine, *built]):
        refused += _compare(session, case.images, single, (1, 5, len(case.images)))
    return refused[0] if refused else None


@batch("an engine with a batch of four")
def fixed_batch(case: Case) -> str | None:
    case.engine("int8")
    target = case.target.model_copy(update={"batch": _FIXED_BATCH})
    models = case.model("int8", batch=_FIXED_BATCH)
    built = []
    said = refusal(lambda: built.append(case.build(models, target)), "building with a batch of four")
    if said:
        return f"refused: {said}"
    single = answers_of(case.session("int8"), case.images)
    session = case.open(built[0])
    images = pictures(range(_FIXED_BATCH))
    logits = session.run(images)
    _require_logits(logits, _FIXED_BATCH)
    shared = min(_FIXED_BATCH, len(single))
    require(_same(logits[:shared], single[:shared]), "four at once gave other answers than one by one")
    refused = _compare(session, case.images, single, (1, 5))
    return refused[0] if refused else None


def _compare(session: Session, images: UInt8, single: Float32, sizes: tuple[int, ...]) -> list[str]:
    """What is refused of batches of these sizes; the others must give the single images' answers."""
    refused = []
    for n in sorted({min(size, len(images)) for size in sizes}):
        found: list[Float32] = []
        said = refusal(lambda: found.append(session.run(images[:n])), f"running {n} images at once")  # noqa: B023
        if said:
            refused.append(f"{n} at once: {said}")
            continue
        _require_logits(found[0], n)
        require(_same(found[0], single[:n]), f"{n} images at once gave other answers than one by one")
    return refused


@throughput("run_many gives what run gives, every index once")
def run_many_is_run(case: Case) -> None:
    rounds = 5 if case.standing.loads else 2
    images = np.concatenate([case.images] * rounds)
    for precision, session in _sessions(case):
        wanted = np.concatenate([answers_of(session, case.images)] * rounds)
        found: list[tuple[int, Float32]] = []
        many = case.session(precision, throughput=True)
        many.run_many(_singly(images), lambda index, logits: found.append((index, logits)))  # noqa: B023
        indices = sorted(index for index, _ in found)
        require(indices == list(range(len(images))), f"{precision}: {len(indices)} answers for {len(images)}")
        for index, logits in found:
            require(_same(logits, wanted[index][None]), f"{precision}: other answers than run for {index}")


@throughput("run_many of nothing answers nothing")
def run_many_of_nothing(case: Case) -> None:
    for _, session in _sessions(case):
        called: list[int] = []
        session.run_many(iter(()), lambda index, logits: called.append(index))  # noqa: B023
        require(not called, "it answered")


@throughput("run_many hands on what the source of images raises")
def run_many_hands_on(case: Case) -> None:
    for precision, session in _sessions(case):

        def source() -> Iterator[UInt8]:
            yield case.images[:1]
            raise _NoMore

        try:
            session.run_many(source(), lambda index, logits: None)
        except _NoMore:
            continue
        except Exception as error:
            raise Failed(f"{precision}: it raised {type(error).__name__} instead: {flat(error)}") from error
        raise Failed(f"{precision}: the source's exception was swallowed")


class _NoMore(Exception):
    """What no library catches."""


@wrong_input("what is not uint8 [N, H, W, 3] of the engine's size is refused by name")
def wrong_input_is_refused(case: Case) -> None:
    shapes = ((SIDE, SIDE, 3), (1, 3, SIDE, SIDE), (1, SIDE - 1, SIDE, 3), (1, SIDE, SIDE, 1))
    floats: Any = np.zeros((1, SIDE, SIDE, 3), np.float32)
    for _, session in _sessions(case):
        for images in (floats, *(np.zeros(shape, np.uint8) for shape in shapes)):
            _require_refused(session, images)
        _require_logits(session.run(case.images[:1]), 1)  # and it goes on working


def _require_refused(session: Session, images: UInt8) -> None:
    doing = f"running {images.dtype} {list(images.shape)}"
    error = must_refuse(lambda: session.run(images), doing, naming="uint8")
    require(isinstance(error, InputError), f"{doing} raised {type(error).__name__} instead of InputError")


def _sessions(case: Case) -> Iterator[tuple[Precision, Session]]:
    for precision, engine in case.engines():
        yield precision, case.open(engine)


def _singly(images: UInt8) -> Iterator[UInt8]:
    return (image[None] for image in images)


def _require_logits(logits: Float32, n: int) -> None:
    require(isinstance(logits, np.ndarray), f"logits are {type(logits).__name__}, not an array")
    fits = logits.shape == (n, len(CLASSES)) and logits.dtype == np.float32
    require(fits, f"logits are {logits.dtype} {list(logits.shape)}, not float32 [{n}, {len(CLASSES)}]")
    require(bool(np.isfinite(logits).all()), "logits hold NaN or infinity")


def _same(found: Float32, wanted: Float32) -> bool:
    if found.shape != wanted.shape:
        return False
    return bool(np.abs(found - wanted).max() <= _SAME * max(1.0, float(wanted.std())))
