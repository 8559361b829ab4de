"""Is a bundle, file by file, what its maker wrote?"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from edgetl.bundle.golden import require_golden
from edgetl.bundle.manifest import NAME, Manifest, read_manifest
from edgetl.bundle.write import GOLDEN_INPUT, GOLDEN_OUTPUT, PORTABLE, TRAINED_ON
from edgetl.errors import BundleError
from edgetl.files import sha256_file

_DIGEST = re.compile(rb"[0-9a-f]{64}\n")
_LINE = 65


def check_files(bundle: Path) -> Manifest:
    """Recompute every digest; refuse missing, altered and unlisted files, links and other special files.

    What the files with a form of their own hold, the golden input and output and the training images'
    digests, is checked against the manifest too.

    Raises:
        BundleError: naming the first file that is wrong.
    """
    manifest = read_manifest(bundle)
    if absent := {GOLDEN_INPUT, GOLDEN_OUTPUT, PORTABLE, TRAINED_ON} - set(manifest.files):
        raise BundleError(f"{bundle}: the manifest does not list {min(absent)!r}")
    try:
        _require_listed(bundle, {NAME, *manifest.files})
        for name, facts in manifest.files.items():
            path = bundle / name
            if path.stat().st_size != facts["bytes"] or sha256_file(path) != facts["sha256"]:
                raise BundleError(f"{bundle}: {name!r} was altered since the bundle was made")
        require_golden(bundle, manifest)
        _require_digests(bundle / TRAINED_ON)
    except OSError as error:
        raise BundleError(f"cannot read {error.filename or bundle}: {error.strerror}") from error
    return manifest


def _require_listed(bundle: Path, names: Collection[str]) -> None:
    """Refuse a folder that holds anything but these files, regular all of them, and their folders.

    A folder that is none of theirs is not entered.
    """
    folders = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    present = set()
    for folder in sorted(folders):
        if not (bundle / folder).is_dir():
            continue  # what was to be in there is missing
        with os.scandir(bundle / folder) as entries:
            for entry in entries:
                name = (PurePosixPath(folder) / entry.name).as_posix()
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISLNK(mode):
                    raise BundleError(f"{bundle}: {name!r} is a symbolic link; refusing to follow it")
                if not (name in folders if stat.S_ISDIR(mode) else name in names):
                    raise BundleError(f"{bundle}: {name!r} is not in the manifest")
                if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                    raise BundleError(f"{bundle}: {name!r} is no regular file")
                present.add(name)
    if lost := set(names) - present:
        raise BundleError(f"{bundle}: {min(lost)!r} is missing")


def _require_digests(path: Path) -> None:
    """Refuse a list of training images that is no list of SHA-256 digests, a line each."""
    with path.open("rb") as stream:
        while line := stream.readline(_LINE + 1):
            if not _DIGEST.fullmatch(line):
                raise BundleError(f"{path} can't be read: it is no list of digests")
