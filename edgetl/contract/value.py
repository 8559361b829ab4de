"""The preprocessing contract: one immutable value that says how a picture becomes a tensor."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from edgetl.errors import ContractMismatchError, InputError

Resize = Literal["shorter", "stretch"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

_RESIZES = ("shorter", "stretch")
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_LONGEST = 16384
"""Pixels the shorter side may be scaled to."""


@dataclass(frozen=True)
class Contract:
    """How an encoded picture becomes the network's input.

    Decoding, resizing and cropping happen outside the exported graph and yield ``uint8 [H, W, 3]`` RGB;
    ``(pixel / 255 - mean) / std`` and the layout change happen inside it. EXIF orientation is applied
    and transparency is laid over ``background`` before resizing.

    Attributes:
        height: rows of the network's input, pixels.
        width: columns of the network's input, pixels.
        resize: ``shorter`` scales the shorter side to ``resize_to`` and crops the centre;
            ``stretch`` scales to ``height`` x ``width`` without regard to the aspect ratio.
        resize_to: length of the shorter side after resizing, pixels (unused by ``stretch``).
        interpolation: Pillow's (antialiased) filter of that name.
        mean: per-channel mean in units of the 0..1 range, RGB.
        std: per-channel standard deviation in the same units.
        background: grey level 0..255 behind transparent pixels.
        version: of these semantics; a change of the image code's output raises it.
    """

    height: int
    width: int
    resize: Resize
    resize_to: int
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    background: int = 255
    version: int = 1

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or max(self.height, self.width) > 8192:
            raise InputError(f"contract: input size {self.height}x{self.width} is outside 1..8192")
        if self.resize not in _RESIZES:
            raise InputError(f"contract: resize must be one of {', '.join(_RESIZES)}, not {self.resize!r}")
        if self.resize == "shorter" and self.resize_to < max(self.height, self.width):
            raise InputError(
                f"contract: shorter side {self.resize_to} is smaller than the crop {self.height}x{self.width}"
            )
        if self.resize_to > _LONGEST:
            raise InputError(f"contract: shorter side {self.resize_to} is larger than {_LONGEST}")
        if self.interpolation not in _INTERPOLATIONS:
            raise InputError(f"contract: unknown interpolation {self.interpolation!r}")
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std) <= 0:
            raise InputError("contract: mean and std need three finite values each, std above zero")
        if not 0 <= self.background <= 255:
            raise InputError(f"contract: background {self.background} is outside 0..255")
        if self.version != 1:
            raise InputError(f"contract version {self.version} is newer than this edgetl; upgrade edgetl")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the canonical JSON form, hexadecimal."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(height, width, 3)`` of one preprocessed image."""
        return (self.height, self.width, 3)

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["mean"], data["std"] = list(self.mean), list(self.std)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Contract:
        """Build a contract from :meth:`to_dict`'s form.

        Raises:
            InputError: if a field is missing, unknown or out of range.
        """
        if not isinstance(data, Mapping):
            raise InputError("contract: not a table of fields")
        known = {field.name for field in fields(cls)}
        if unknown := set(data) - known:
            raise InputError(f"contract: unknown field {sorted(unknown)[0]!r}; upgrade edgetl")
        try:
            return cls(
                height=int(data["height"]),
                width=int(data["width"]),
                resize=data["resize"],
                resize_to=int(data["resize_to"]),
                interpolation=data["interpolation"],
                mean=_triple(data["mean"]),
                std=_triple(data["std"]),
                background=int(data["background"]),
                version=int(data["version"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"contract: bad or missing field: {error}") from error

    def require(self, other: Contract, *, mine: str, theirs: str) -> None:
        """Refuse to go on with another contract than this one.

        Raises:
            ContractMismatchError: showing both contracts side by side, differences marked.
        """
        if self != other:
            raise ContractMismatchError(side_by_side(self, other, mine, theirs))


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return (red, green, blue)


def side_by_side(left: Contract, right: Contract, left_name: str, right_name: str) -> str:
    """Two contracts as a text table, differing rows marked with ``!=``."""
    rows = [("fingerprint", left.fingerprint[:12], right.fingerprint[:12])]
    left_fields, right_fields = left.to_dict(), right.to_dict()
    rows += [(name, str(left_fields[name]), str(right_fields[name])) for name in left_fields]
    name_width = max(len(row[0]) for row in rows)
    left_width = max(len(left_name), *(len(row[1]) for row in rows))
    lines = [f"preprocessing contracts differ between {left_name} and {right_name}:"]
    lines.append(f"   {'':{name_width}}  {left_name:{left_width}}  {right_name}")
    for name, mine, theirs in rows:
        lines.append(f"{'!=' if mine != theirs else '  '} {name:{name_width}}  {mine:{left_width}}  {theirs}")
    return "\n".join(lines)
