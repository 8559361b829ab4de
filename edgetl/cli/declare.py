"""Options that declare the preprocessing of a foreign ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgetl.errors import InputError

if TYPE_CHECKING:
    from edgetl.contract import Contract

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--size", metavar="HxW", help="Foreign ONNX: input size, e.g. 224 or 224x320."),
    click.option("--mean", metavar="R,G,B", help="Foreign ONNX: mean in 0..1, e.g. 0.485,0.456,0.406."),
    click.option("--std", metavar="R,G,B", help="Foreign ONNX: standard deviation in 0..1."),
    click.option("--resize", type=click.Choice(["shorter", "stretch"]), default="shorter", show_default=True),
    click.option(
        "--resize-to", type=int, metavar="N", help="Foreign ONNX: shorter side after resizing [size / 0.875]."
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
        default="bilinear",
        show_default=True,
    ),
)
NAMES = ("size", "mean", "std", "resize", "resize_to", "interpolation")


def contract_options(function: F) -> F:
    """Add the declaration's options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def declared_contract(options: dict[str, Any]) -> Contract | None:
    """The contract the options declare, or None if none of the three that matter was given.

    Raises:
        InputError: if only some of them were given, or one is malformed.
    """
    given = [name for name in ("size", "mean", "std") if options[name] is not None]
    if not given:
        return None
    if len(given) < 3:
        raise InputError("a contract needs all of --size, --mean and --std")
    from edgetl.contract import Contract

    height, width = _size(options["size"])
    return Contract(
        height=height,
        width=width,
        resize=options["resize"],
        resize_to=options["resize_to"] or int(max(height, width) / 0.875),
        interpolation=options["interpolation"],
        mean=_triple("--mean", options["mean"]),
        std=_triple("--std", options["std"]),
    )


def _size(text: str) -> tuple[int, int]:
    try:
        sides = [int(part) for part in text.lower().split("x")]
        return (sides[0], sides[0]) if len(sides) == 1 else (sides[0], sides[1])
    except (ValueError, IndexError) as error:
        raise InputError(f"--size {text!r} is not N or HxW") from error


def _triple(name: str, text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{name} {text!r} is not three numbers R,G,B") from error
    return (red, green, blue)
