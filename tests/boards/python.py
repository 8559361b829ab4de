"""A board's python3: the packages named, and nothing else of the Python that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

# what the worker may find on a board
PACKAGES = ("numpy", "pillow", "onnxruntime", "openvino")


def board_path(folder: Path) -> str:
    """PATH of a board whose python3, made in ``folder``, has PACKAGES: no edgetl, no torch, no pydantic."""
    return f"{make_python(folder, PACKAGES)}:{os.defpath}"


def make_python(folder: Path, packages: Iterable[str]) -> Path:
    """Make a Python in ``folder``; returns the folder of its program ``python3``, for PATH."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for package in packages:
        found = distribution(package)
        tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        for top in tops:
            target = Path(str(found.locate_file(top)))
            if not (site / top).exists():
                (site / top).symlink_to(target, target_is_directory=target.is_dir())
    return folder / "bin"
