"""Toolchains whose pins clash with ours, each in a virtual environment of its own."""

from edgetl.toolchains.catalogue import Toolchain, toolchain, toolchain_names
from edgetl.toolchains.install import install
from edgetl.toolchains.place import how_to_get, installed, remove, size_bytes, version

__all__ = [
    "Toolchain",
    "how_to_get",
    "install",
    "installed",
    "remove",
    "size_bytes",
    "toolchain",
    "toolchain_names",
    "version",
]
