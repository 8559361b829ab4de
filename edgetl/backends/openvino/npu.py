"""An engine for an Intel NPU: compiled ahead of time where its compiler is at hand, else the IR."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.backends.openvino.devices import NPU, openvino, told
from edgetl.backends.openvino.made import keep
from edgetl.backends.worker import Worker
from edgetl.errors import InputError
from edgetl.store import default_root

if TYPE_CHECKING:
    from edgetl.profiles import Target

BLOB = "model.blob"
_IR = "ir"
_PLATFORM = "npu_platform"
_COMPILER = "NPU_COMPILER_VERSION"
_CHILD = Path(__file__).with_name("compiling.py")
_SECONDS = 1800


def platform(target: Target) -> str | None:
    """The NPU generation a target is compiled for, as in ``4000``.

    Raises:
        InputError: if its ``build`` table has another key, or this is no such number.
    """
    if unknown := sorted(set(target.build) - {_PLATFORM}):
        raise InputError(
            f"target {target.name}: OpenVINO knows no build setting {unknown[0]!r}; known: {_PLATFORM}"
        )
    given = target.build.get(_PLATFORM)
    if given is None:
        return None
    if not isinstance(given, str) or not re.fullmatch(r"\d{4}", given):
        raise InputError(
            f'target {target.name}: {_PLATFORM} must be four digits in quotes, as in "4000", not {given!r}'
        )
    return given


def compiler_version() -> str | None:
    """Version of the NPU compiler that OpenVINO finds here, in its own package or in a driver."""
    try:
        return str(openvino().Core().get_property(NPU, _COMPILER))
    except RuntimeError:
        return None


def no_compiler() -> str:
    """Why OpenVINO finds no NPU compiler here, by its own error."""
    package = openvino()
    version = package.__version__.partition("-")[0]
    try:
        package.Core().get_property(NPU, _COMPILER)
    except RuntimeError as error:
        library = re.search(r"[\w.-]*npu_compiler[\w.-]*\.(?:so|dll)", str(error))
        if library is None:
            return f"OpenVINO {version} says: {told(error)}"
        return (
            f"OpenVINO {version} finds no NPU compiler here ({library.group()} is not in its Python package; "
            "Intel's OpenVINO archives have it)"
        )
    return f"OpenVINO {version} has one"


def build(ir: Path, target: Target, folder: Path) -> str:
    """Make the engine of the IR in ``folder``; returns its main file's name.

    Raises:
        BackendError: if there is a compiler and it refuses the model, dies or takes too long.
    """
    version, generation = compiler_version(), platform(target)
    if version is None:
        keep(folder, f"not compiled: {no_compiler()}")
        return ir.name
    made = compile_apart(ir, NPU, {"NPU_PLATFORM": generation} if generation else {}, folder / BLOB)
    (folder / _IR).mkdir()
    for part in (ir, ir.with_suffix(".bin")):
        part.rename(folder / _IR / part.name)
    keep(folder, f"compiled ahead of time by Intel's NPU compiler {version}", **made)
    return BLOB


def compile_apart(ir: Path, device: str, config: dict[str, str], out: Path) -> dict[str, object]:
    """Compile an IR for a device in a child process; returns where its nodes go.

    Raises:
        BackendError: if the compiler refuses the model, dies or takes too long.
    """
    log = default_root() / "logs" / f"openvino-{device.lower()}.log"
    with Worker(f"OpenVINO's {device} compiler", sys.executable, _CHILD, log) as worker:
        return worker.ask("compile", timeout=_SECONDS, ir=str(ir), device=device, config=config, out=str(out))


def simulated_file(engine: str) -> str:
    """The IR that the CPU plugin runs in place of an engine, relative to the same folder."""
    path = Path(engine)
    return str(path.with_name(_IR) / "model.xml") if path.name == BLOB else engine
