"""Is a bundle, file by file, what its maker wrote?"""

from __future__ import annotations

from pathlib import Path

from edgetl.bundle.manifest import NAME, Manifest, read_manifest
from edgetl.bundle.write import GOLDEN_INPUT, GOLDEN_OUTPUT, TRAINED_ON
from edgetl.errors import BundleError, InputError
from edgetl.files import relative_files, sha256_file


def check_files(bundle: Path) -> Manifest:
    """Recompute every digest; refuse missing, altered and unlisted files, and symbolic links.

    Raises:
        BundleError: naming the first file that is wrong.
    """
    manifest = read_manifest(bundle)
    if absent := {GOLDEN_INPUT, GOLDEN_OUTPUT, TRAINED_ON} - set(manifest.files):
        raise BundleError(f"{bundle}: the manifest does not list {min(absent)!r}")
    try:
        present = set(relative_files(bundle)) - {NAME}
    except InputError as error:
        raise BundleError(str(error)) from error
    if extra := present - set(manifest.files):
        raise BundleError(f"{bundle}: {min(extra)!r} is not in the manifest")
    if lost := set(manifest.files) - present:
        raise BundleError(f"{bundle}: {min(lost)!r} is missing")
    for name, facts in manifest.files.items():
        path = bundle / name
        if path.stat().st_size != facts["bytes"] or sha256_file(path) != facts["sha256"]:
            raise BundleError(f"{bundle}: {name!r} was altered since the bundle was made")
    return manifest
