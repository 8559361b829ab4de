"""Versions of installed packages, read without importing them."""

from __future__ import annotations

from importlib import metadata


def version_of(package: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(*packages: str) -> dict[str, str | None]:
    """Installed versions by distribution name."""
    return {package: version_of(package) for package in packages}
