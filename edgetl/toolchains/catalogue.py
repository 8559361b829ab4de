"""The toolchains there are. A new one is an entry in this table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from edgetl.errors import InputError


@dataclass(frozen=True)
class Toolchain:
    """What an environment is made of, and what it costs.

    Attributes:
        version: of the toolchain itself.
        pythons: versions of Python that all its requirements have wheels for, the best first.
        requirements: all packages with their versions; nothing else is installed, whatever they ask for.
        download_mb: measured, of all wheels.
        disk_mb: measured, of the whole environment.
        seconds: measured on two busy cores, the downloads over a fast line included.
    """

    name: str
    title: str
    version: str
    pythons: tuple[str, ...]
    requirements: tuple[str, ...]
    download_mb: int
    disk_mb: int
    seconds: int


_TOOLCHAINS = (
    Toolchain(
        name="rknn",
        title="RKNN-Toolkit2 for Rockchip NPUs",
        version="2.5.0",
        pythons=("3.11", "3.12", "3.10"),
        # what it needs to read ONNX, build, simulate and analyse. Its wheel asks for torch too, five
        # gigabytes that only its PyTorch importer calls, and for OpenCV with a graphical interface.
        requirements=(
            "rknn-toolkit2==2.5.0",
            "fast-histogram==0.14",
            "flatbuffers==25.2.10",
            "numpy==1.26.4",
            "onnx==1.18.0",
            "onnxruntime==1.22.1",
            "opencv-python-headless==4.11.0.86",
            "packaging==25.0",
            "protobuf==4.25.4",
            "psutil==7.0.0",
            "ruamel.yaml==0.18.16",
            "scipy==1.15.3",
            "setuptools==80.9.0",
            "tqdm==4.67.1",
            "typing_extensions==4.15.0",
        ),
        download_mb=180,
        disk_mb=630,
        seconds=45,
    ),
)


def toolchain_names() -> list[str]:
    return [each.name for each in _TOOLCHAINS]


def toolchain(name: str) -> Toolchain:
    """The toolchain called ``name``.

    Raises:
        InputError: if there is none.
    """
    for each in _TOOLCHAINS:
        if each.name == name:
            return each
    known = toolchain_names()
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    raise InputError(f"unknown toolchain {name!r}; {hint}")
