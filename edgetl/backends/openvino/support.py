"""Which operators of an ONNX model OpenVINO's frontend and plugins refuse, in their own words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backends.base import failed
from edgetl.backends.openvino.devices import NPU, family, members, openvino
from edgetl.backends.openvino.npu import compiler_version, no_compiler, platform
from edgetl.backends.operators import every_node, name_of
from edgetl.errors import BackendError

if TYPE_CHECKING:
    from edgetl.profiles import Target

_NO_RULE = re.compile(r"No conversion rule found for operations: (.+)")
_OTHER = re.compile(r"^-- (.+)", re.MULTILINE)


def refused(model: Path, target: Target) -> list[str]:
    """A line for each node that is refused; empty if all are taken.

    The frontend answers first, for every device; then the device's plugin, where it can be asked here.

    Raises:
        BackendError: if the file can't be read, or the frontend takes it and the device can't be asked here.
    """
    core = openvino().Core()
    try:
        network = core.read_model(model)
    except RuntimeError as error:
        if lines := _unconverted(str(error), model):
            return lines
        raise failed("read", model, error) from error
    _require_askable(core, target)
    _fix_batch(network)
    device, generation = target.device, platform(target)
    try:
        taken = core.query_model(network, device, {"NPU_PLATFORM": generation} if generation else {})
    except RuntimeError as error:
        raise failed("query", model, error) from error
    return [
        f"{op.get_type_name()} node {op.get_friendly_name()}: the {device} plugin does not take it"
        for op in network.get_ops()
        if op.get_friendly_name() not in taken
    ]


def _require_askable(core: Any, target: Target) -> None:
    known = "OpenVINO's frontend converts every operator"
    missing = {family(name) for name in members(target.device)} - {
        family(name) for name in core.available_devices
    }
    if NPU in missing:
        if compiler_version() is None:
            raise BackendError(f"{known}; of the NPU only its compiler can say: {no_compiler()}")
        missing.remove(NPU)
    if missing:
        raise BackendError(f"{known}; of the {missing.pop()} only a machine that has one can say")


def _fix_batch(network: Any) -> None:
    """One image: plugins answer for the shapes they are asked for, and engines have a fixed batch."""
    for source in network.inputs:
        shape = source.partial_shape
        if shape.rank.is_static and len(shape) and shape[0].is_dynamic:
            shape[0] = 1
            network.reshape({source: shape})


def _unconverted(error: str, model: Path) -> list[str]:
    """Lines for the operators that a conversion report names; none if it is no such report."""
    found = _NO_RULE.search(error)
    if found is None:
        return []
    operators = {re.sub(r"-\d+$", "", name.strip()) for name in found.group(1).split(",")}
    rest = [text for text in _OTHER.findall(error) if not _NO_RULE.match(text)]
    return [*_nodes_of(model, operators), *rest]


def _nodes_of(model: Path, operators: set[str]) -> list[str]:
    import onnx

    why = "OpenVINO's frontend has no conversion for it"
    named = [
        (operator, f"{operator} node {name_of(node)}: {why}")
        for operator, node in every_node(onnx.load(model, load_external_data=False))
        if operator in operators
    ]
    unseen = sorted(operators - {operator for operator, _ in named})
    return [line for _, line in named] + [f"{operator}: {why}" for operator in unseen]
