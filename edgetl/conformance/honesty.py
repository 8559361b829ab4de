"""Precision, placement, simulators, estimates, reasons: what a backend says of itself must be so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgetl.backends import backend_names, get_backend
from edgetl.backends.base import Placement, Precision, Proof
from edgetl.conformance.case import Case, answers_of
from edgetl.conformance.checking import (
    Checks,
    Failed,
    NotApplicable,
    listed,
    refusal,
    require,
    require_one_line,
    standard_output_aside,
)
from edgetl.conformance.network import with_made_up_operator
from edgetl.engines import Engine

toolchain = Checks("toolchain")
precision = Checks("precision")
placement = Checks("placement")
simulator = Checks("simulator")
estimate = Checks("estimate")
support = Checks("supports")
output = Checks("output")

ALL = (toolchain, precision, placement, simulator, estimate, support, output)

_MADE_UP = "NoSuchOperator"
_QUANTITY = {"value", "low", "high", "n", "kind"}


@toolchain("available() tells versions and devices, or one line of what is missing")
def tells_what_is_there(case: Case) -> str | None:
    require(case.name in backend_names(), f"{case.name} is no registered backend")
    found = case.backend.available()
    if not found.ok:
        require(found.reason is not None, "it is not available and gives no reason")
        require_one_line(found.reason or "", "the reason")
        return f"not available: {found.reason}"
    require(found.reason is None, f"it is available and gives a reason: {found.reason}")
    require(bool(found.versions) and all(found.versions.values()), "it is available and tells no version")
    if case.standing.loads:
        devices = ", ".join(found.devices)
        here = any(device in case.target.device for device in found.devices)
        require(here, f"the target's device {case.target.device} is not among its devices: {devices}")
    return ", ".join(f"{name} {version}" for name, version in found.versions.items())


@toolchain("what can't be loaded here has a reason of one line")
def tells_what_is_in_the_way(case: Case) -> str:
    reason = case.backend.obstacle(case.target)
    if reason is None:
        raise NotApplicable(f"engines for {case.target.name} load on this machine")
    require_one_line(reason, "the obstacle")
    return reason


@toolchain("what keys are made of is JSON, and the same twice")
def key_parts_are_stable(case: Case) -> None:
    first, again = (
        json.dumps([case.backend.build_parts(case.target), case.backend.versions()], sort_keys=True)
        for _ in range(2)
    )
    require(first == again, "build_parts() or versions() changed between two calls")
    if case.backend.available().ok:
        require(
            bool(case.backend.versions()), "versions() is empty, so that another version's engine is taken"
        )
    require(
        bool(case.backend.quantizers),
        "quantizers is empty, so that another version's quantized model is taken",
    )


@precision("an INT8 engine computes in INT8, as its runtime or its builder tells")
def int8_is_int8(case: Case) -> str:
    found = _precision(case, case.engine("int8"))
    require(found.asked == "int8", f"it says it was asked for {found.asked}")
    require(found.used == "int8", f"it computes in {found.used}: {dict(found.layers)}")
    require(found.layers.get("int8", 0) >= 3, f"three convolutions, and the layers are {dict(found.layers)}")
    return ", ".join(f"{count} {name}" for name, count in found.layers.items())


@precision("a float engine does not pass for INT8")
def float_is_not_int8(case: Case) -> None:
    engine = case.engine("f32")
    found = _precision(case, engine)
    require(found.used == "f32", f"a float engine, asked for f32, tells {found.used}")
    if not case.standing.loads:
        return
    claimed = replace(engine, spec=replace(engine.spec, precision="int8"))
    used = _precision(case, claimed).used
    require(used != "int8", "a float engine loaded as INT8 tells int8: it repeats what was asked for")


@precision("an INT8 engine does not pass for float")
def int8_is_not_float(case: Case) -> None:
    engine = case.loadable("int8")
    claimed = replace(engine, spec=replace(engine.spec, precision="f32"))
    found = _precision(case, claimed)
    require(found.asked == "f32", f"asked for f32, it says it was asked for {found.asked}")
    require(
        found.used == "int8",
        f"an INT8 engine loaded as f32 tells {found.used}: it repeats what was asked for",
    )


def _precision(case: Case, engine: Engine) -> Precision:
    if case.standing.loads:
        return engine.open().precision()
    found = _proof(engine).precision
    if found is None:
        raise NotApplicable("there is no engine yet")
    return found


@placement("every node is on the device, or those elsewhere are listed")
def placement_is_told(case: Case) -> str:
    said = []
    for kind, engine in case.engines():
        found = engine.open().placement() if case.standing.loads else _proof(engine).placement
        if found is None:
            raise NotApplicable("there is no engine yet")
        _require_placement(found)
        said.append(f"{kind}: {found.share_of_nodes:.0%} on {found.device}")
    return ", ".join(said)


def _require_placement(found: Placement) -> None:
    require(bool(found.device), "it names no device")
    for share in (found.share_of_nodes, found.share_of_time):
        require(share is None or 0 <= share <= 1, f"a share of {share}")
    if found.share_of_nodes < 1:
        require(
            bool(found.elsewhere), f"{found.share_of_nodes:.0%} of the nodes, and none listed as elsewhere"
        )
    else:
        require(not found.elsewhere, f"all nodes, and yet elsewhere: {listed(found.elsewhere)}")
        require(found.share_of_time in (None, 1.0), f"all nodes, and {found.share_of_time} of the time")


@placement("a session tells the same placement and precision after it ran")
def facts_stay(case: Case) -> None:
    session = case.loadable("int8").open()
    before = session.placement().to_dict(), session.precision().to_dict()
    session.run(case.images[:1])
    after = session.placement().to_dict(), session.precision().to_dict()
    require(before[1] == after[1], "precision() changed")
    require(before[0]["share_of_nodes"] == after[0]["share_of_nodes"], "placement() changed")
    json.dumps(after)


@simulator("answers for what can't be loaded here, and never as measured")
def simulates(case: Case) -> str:
    if case.standing.loads:
        raise NotApplicable("the engine itself is loaded here")
    here = case.standing
    require(here.kind != "measured" and not here.latency, "its results would count as measured")
    engine = case.engine("int8")
    spec = case.backend.simulator(engine.spec)
    if spec is None:
        raise Failed("there is no simulator: nothing can tell this target's accuracy here")
    require(
        np.isfinite(answers_of(case.open(engine), case.images[:1])).all().item(), "its logits are not finite"
    )
    most = case.backend.simulated_images(engine.spec)
    require(most is None or most > 0, f"simulated_images() is {most}")
    return f"{spec.backend} on {spec.device}, file {spec.file}"


@simulator("only an engine that can't be loaded is answered for")
def loads_itself(case: Case) -> None:
    engine = case.loadable("int8")
    require(engine.answering() is engine, "another engine answers")


@estimate("every number of an estimate has the kind estimated")
def estimates_are_marked(case: Case) -> str:
    found = _proof(case.engine("int8")).estimate
    if found is None:
        raise NotApplicable("it estimates nothing")
    json.dumps(found)
    require(bool(found.get("source")), "it does not say where it comes from (source)")
    numbers = list(_numbers(found, "estimate"))
    require(bool(numbers), "it holds no number")
    return listed(numbers)


def _numbers(value: Any, where: str) -> Iterator[str]:
    """Paths of the quantities in a JSON value; a number outside one fails."""
    if isinstance(value, Mapping):
        if _QUANTITY & set(value) == _QUANTITY:
            require(value["kind"] == "estimated", f"{where} has the kind {value['kind']!r}, not 'estimated'")
            yield where
            return
        for name, part in value.items():
            yield from _numbers(part, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _numbers(part, f"{where}[{index}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        raise Failed(f"{where} is {value}, a number without a kind")


@estimate("what the builder reports can be written as JSON")
def proof_is_json(case: Case) -> None:
    proof = _proof(case.engine("int8"))
    json.dumps(proof.layers)
    require(
        proof.compiled or proof.estimate is None or "latency_ms" not in proof.estimate,
        "a latency, uncompiled",
    )


def _proof(engine: Engine) -> Proof:
    found = engine.proof
    if found is None:
        raise NotApplicable("only the loaded engine tells (proof() is None)")
    return found


@support("the tiny network has nothing that is refused")
def supports_the_network(case: Case) -> None:
    found = _refused(case)
    require(not found, f"refused: {listed(found)}")


@support("a made-up operator is named")
def names_a_made_up_operator(case: Case) -> str:
    _refused(case)
    strange = case.new_folder() / "strange.onnx"
    strange.write_bytes(with_made_up_operator(case.network.model, _MADE_UP))
    answered: list[list[str] | None] = []
    said = refusal(
        lambda: answered.append(case.backend.supports(strange, case.target)),
        "asking for an operator nobody has",
        naming=_MADE_UP,
    )
    if said:
        return f"refused: {said}"
    found = answered[0] or []
    require(
        any(_MADE_UP in line for line in found), f"{_MADE_UP} is not named: {listed(found) or 'nothing is'}"
    )
    for line in found:
        require_one_line(line, "a reason")
    return found[0]


def _refused(case: Case) -> list[str]:
    """What the parser refuses of the tiny network, where there is a parser here."""
    answered: list[list[str] | None] = []
    said = refusal(
        lambda: answered.append(case.backend.supports(case.network.model, case.target)), "asking the parser"
    )
    if said:
        raise NotApplicable(f"the parser can't be asked here: {said}")
    if answered[0] is None:
        raise NotApplicable("only a build tells")
    return answered[0]


@output("standard output stays clean")
def prints_nothing(case: Case) -> None:
    case.engine("int8")
    with standard_output_aside() as printed:
        model = case.with_head(case.quantize(case.network.backbone))
        session = case.open(case.build(model))
        session.run(case.images[:1])
        get_backend(case.name).available()
    require(not printed, f"{len(printed)} lines on standard output: {printed[0][:80] if printed else ''}")
