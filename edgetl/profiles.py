"""Targets and calibration recipes: data read from TOML, checked, found in the user's folders first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import metadata, resources, util
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgetl.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Precision = Literal["f32", "f16", "bf16", "int8"]
Processor = Literal["cpu", "gpu", "npu"]
_EVERY = {f"all-{processor}": processor for processor in get_args(Processor)}
_DATA = {"targets": "targets", "recipes": "calibration"}


class _Profile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str


class Recipe(_Profile):
    """How ranges are found: see ``calibration/*.toml``.

    Attributes:
        method: ``minmax`` takes the mean of per-image extremes (NNCF) or the extremes (onnxruntime);
            ``percentile`` and ``entropy`` clip outliers.
        images: number of calibration images, drawn from the training side only.
        selection: how they are drawn; ``stratified`` takes the classes in turn.
        per_channel: one weight scale for each output channel.
        activations: with a zero point (``asymmetric``) or without; ``auto`` is what the backend's integer
            kernels run fastest.
        bias_correction: correct the mean shift that quantization causes: ``full`` re-runs the network layer
            by layer, ``fast`` does so in one pass (NNCF only; onnxruntime has none).
        keep_float: regular expressions; nodes whose whole name matches stay in float.
    """

    method: Literal["minmax", "percentile", "entropy"] = "minmax"
    images: int = Field(default=300, ge=1)
    selection: Literal["stratified", "random"] = "stratified"
    per_channel: bool = True
    activations: Literal["auto", "symmetric", "asymmetric"] = "auto"
    bias_correction: Literal["full", "fast", "none"] = "full"
    keep_float: tuple[str, ...] = ()


class Facts(BaseModel):
    """What the vendor publishes about a device, with its source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    peak_int8_tops: float | None = None
    memory_bandwidth_gbps: float | None = None
    memory_gb: float | None = None
    source: str


class Target(_Profile):
    """A device profile: see ``targets/*.toml``.

    Attributes:
        backend: name of the backend that makes and runs its engines.
        precision: what the engine is asked to compute in.
        float_precision: what the unquantized rest is asked to compute in; ``auto`` leaves it to the runtime.
        batch: fixed batch size of the engine, images.
        recipe: calibration recipe used unless another is asked for.
        weight_bits: 7 where 8-bit products overflow (x86 without VNNI), else 8.
        processor: what of the device computes; ``--target all-npu`` means every NPU.
        machine: processor architecture (``platform.machine()``) the target has.
        requires: instruction sets it has; ``lacks``: ones it has not, so that a machine which has them
            computes differently and can only simulate it.
        compute_capabilities: of the GPUs the engine is for, as in ``8.6``; none for a CPU.
        device_names: words one of which the device's own name (of its GPU, or of the board) holds.
        made: where its engines are built.
        build: handed to the backend's builder; each backend says which keys it knows.
        device: device name handed to the backend's runtime.
        options: handed to the backend's runtime as they are.
        facts: vendor facts with their source.
    """

    backend: str
    precision: Precision
    float_precision: Literal["f32", "f16", "bf16", "auto"] = "f32"
    batch: int = Field(default=1, ge=1, le=1024)
    recipe: str = "default"
    weight_bits: Literal[7, 8] = 8
    processor: Processor = "cpu"
    machine: str
    requires: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    compute_capabilities: tuple[Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")], ...] = ()
    device_names: tuple[str, ...] = ()
    made: Literal["here", "on-device"] = "here"
    build: dict[str, str | int | float | bool] = Field(default_factory=dict)
    device: str = "CPU"
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    facts: Facts | None = None

    @property
    def computer(self) -> bool:
        """Whether the device runs programs such as edgetl: a microcontroller runs its firmware only."""
        return not self.machine.startswith("cortex-m")


P = TypeVar("P", bound=_Profile)


def target(name: str) -> Target:
    """The profile called ``name``.

    Raises:
        InputError: if there is none (close names are offered) or the file is wrong.
    """
    return _load("targets", name, Target)


def recipe(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        InputError: if there is none (close names are offered) or the file is wrong.
    """
    return _load("recipes", name, Recipe)


def target_names() -> list[str]:
    return sorted(_files("targets"))


def targets_of(names: Iterable[str]) -> list[Target]:
    """The profiles called so, each once; ``all-cpu``, ``all-gpu`` and ``all-npu`` stand for all of a kind.

    Raises:
        InputError: as ``target``.
    """
    found: dict[str, Target] = {}
    for name in names:
        if name in _EVERY:
            every = map(target, target_names())
            chosen = [item for item in every if item.processor == _EVERY[name]]
        else:
            chosen = [target(name)]
        found |= {item.name: item for item in chosen}
    return list(found.values())


def recipe_names() -> list[str]:
    return sorted(_files("recipes"))


def _load(kind: str, name: str, model: type[P]) -> P:
    files = _files(kind)
    if name not in files:
        import difflib

        close = difflib.get_close_matches(name, files, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(files))}"
        raise InputError(f"unknown {kind.rstrip('s')} {name!r}; {hint}")
    path = files[name]
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return model.model_validate({"name": name, **data})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from error


def _files(kind: str) -> dict[str, Path]:
    """Profile files by name; a user's file hides a packaged one of the same name."""
    found: dict[str, Path] = {}
    for folder in _folders(kind):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def _folders(kind: str) -> Iterator[Path]:
    """The user's configuration folder, the folder packaged with edgetl, those of packages with a backend."""
    import os

    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    yield base / "edgetl" / _DATA[kind]
    packaged = Path(str(resources.files("edgetl"))) / "_profiles" / _DATA[kind]
    checkout = Path(__file__).resolve().parent.parent / _DATA[kind]
    yield packaged if packaged.is_dir() else checkout
    for entry in metadata.entry_points(group="edgetl.backends"):
        found = util.find_spec(entry.module.partition(".")[0])
        for place in (found.submodule_search_locations or ()) if found else ():
            yield Path(place) / _DATA[kind]
