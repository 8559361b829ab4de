"""Versions of installed packages, read without importing them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

_DECISIVE = ("contract", "transfer", "exporting", "quantization", "backends", "measurement")


def version_of(package: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(*packages: str) -> dict[str, str | None]:
    """Installed versions by distribution name."""
    return {package: version_of(package) for package in packages}


@cache
def code_digest() -> str:
    """SHA-256 over the sources that results depend on: another edgetl's results are not taken for ours."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for package in _DECISIVE:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
