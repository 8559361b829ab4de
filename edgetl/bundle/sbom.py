"""A software bill of materials (CycloneDX 1.6) of the packages that made a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sbom(name: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """CycloneDX document with one library component a package, sorted by name."""
    components = [
        {
            "type": "library",
            "name": package,
            "version": version,
            "purl": f"pkg:pypi/{package.lower().replace('_', '-')}@{version}",
        }
        for package, version in sorted(versions.items())
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "machine-learning-model", "name": name}},
        "components": components,
    }
