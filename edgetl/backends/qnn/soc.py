"""Systems on chip that contexts can be compiled for, and what a target's ``[build]`` may say about them.

The QNN provider does not check them: an ``htp_arch`` that it does not know compiles for the oldest one
without a word, and a ``soc_model`` that it does not know ends in an error about nodes on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgetl.errors import InputError

if TYPE_CHECKING:
    from edgetl.profiles import Target

_FLOAT_ARCH = 69
"""The first HTP architecture that computes in half precision."""
_PRECISIONS = ("int8", "f16")

_KNOWN = ("htp_arch", "soc_model", "vtcm_mb")

# Numbers by the enumeration Qnn_SocModel_t of the SDK's QnnTypes.h and ExecuTorch's Qualcomm backend
# (backends/qualcomm/serialization/qc_schema.py). Architectures by QNN 2.51 itself: what a context says that
# was compiled for the number alone.
_ARCHITECTURES = {
    30: 68,  # SM8350
    36: 69,  # SM8450
    39: 68,  # SA8295
    42: 69,  # SM8475
    43: 73,  # SM8550
    52: 73,  # SA8255; SA8775P is of the same family in libQnnHtp.so's table
    57: 75,  # SM8650
    62: 68,  # SA8540
    66: 73,  # QCS8550
    69: 79,  # SM8750
    72: 81,  # SA8797
    77: 73,  # QCS9100; QCS9075 is of the same family
    87: 81,  # SM8850
    93: 68,  # QCM6490, QCS6490
}


@dataclass(frozen=True)
class Soc:
    """What a context is compiled for.

    Attributes:
        model: number of the system on chip, as QNN counts them.
        arch: of its HTP, as in 73.
        vtcm_mb: tightly coupled memory a graph may use; None for the compiler's default.
    """

    model: int
    arch: int
    vtcm_mb: int | None = None

    @classmethod
    def of(cls, target: Target) -> Soc:
        """A target's system on chip.

        Raises:
            InputError: if the build settings name none that QNN compiles for, or it lacks the precision.
        """
        if unknown := sorted(set(target.build) - set(_KNOWN)):
            known = ", ".join(_KNOWN)
            raise InputError(
                f"target {target.name}: qnn knows no build setting {unknown[0]!r}; known: {known}"
            )
        vtcm = _number(target, "vtcm_mb") if "vtcm_mb" in target.build else None
        soc = cls(_number(target, "soc_model"), _number(target, "htp_arch"), vtcm)
        arch = _ARCHITECTURES.get(soc.model)
        if arch is None:
            numbers = ", ".join(map(str, sorted(_ARCHITECTURES)))
            raise InputError(f"target {target.name}: unknown soc_model {soc.model}; known: {numbers}")
        if arch != soc.arch:
            raise InputError(
                f"target {target.name}: soc_model {soc.model} has HTP architecture {arch}, not {soc.arch}"
            )
        soc._require(target)
        return soc

    def _require(self, target: Target) -> None:
        if target.precision not in _PRECISIONS:
            raise InputError(f"target {target.name}: HTP engines are int8 or f16, not {target.precision}")
        if target.precision == "f16" and not self.has_floats:
            raise InputError(
                f"target {target.name}: an HTP of architecture {self.arch} computes in integers only; "
                'set precision = "int8"'
            )

    def provider_options(self) -> dict[str, str]:
        """What the QNN provider is told."""
        options = {"soc_model": str(self.model), "htp_arch": str(self.arch)}
        return options if self.vtcm_mb is None else {**options, "vtcm_mb": str(self.vtcm_mb)}

    @property
    def has_floats(self) -> bool:
        """Whether its HTP computes in half precision too."""
        return self.arch >= _FLOAT_ARCH


def _number(target: Target, setting: str) -> int:
    value = target.build.get(setting)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise InputError(
            f"target {target.name}: build setting {setting} must be a positive number, not {value!r}"
        )
    return value
