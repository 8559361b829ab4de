"""What a manifest may hold, whoever sealed it: short plain text, finite numbers, paths inside, known options.

A digest shows that a bundle is as its maker left it, not who its maker is. What is read from a manifest
reaches terminals, file systems and runtimes, so that it is held to these limits all the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from edgetl.backends import backend_names, get_backend
from edgetl.errors import BundleError

MAX_THREADS = 256
_DEEPEST = 16
_LONGEST_TEXT = 4096
_LONGEST_PATH = 255
_MOST_FOLDERS = 8
_LARGEST = 1 << 53
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FOREIGN = re.compile(r'[\\:*?"<>|]')
"""What is a separator, a drive or forbidden on one system or another."""

_VALUE = re.compile(r"-?\d{1,4}(\.\d{1,9})?|[A-Za-z]\w{0,39}", re.ASCII)
"""A number below ten thousand, or one word."""


def require_plain(value: Any, depth: int = 0) -> None:
    """Refuse text with control characters, numbers that are not finite, and what is too long, large or deep.

    Args:
        value: as JSON was read.

    Raises:
        BundleError: saying what is refused.
    """
    if depth > _DEEPEST:
        raise BundleError(f"it is nested deeper than {_DEEPEST} levels")
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise BundleError(f"it holds a text of {len(value):,} characters; {_LONGEST_TEXT:,} are allowed")
        if _UNPRINTABLE.search(value):
            raise BundleError(f"it holds control characters: {shortened(value)}")
    elif isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) > _LARGEST:
            raise BundleError(f"it holds a number that is not finite or too large: {value:.3g}")
    elif isinstance(value, list):
        for item in value:
            require_plain(item, depth + 1)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            require_plain(key, depth + 1)
            require_plain(item, depth + 1)


def safe_path(name: Any) -> str:
    """A relative POSIX path that stays inside its folder on every system.

    Raises:
        BundleError: for anything else.
    """
    if isinstance(name, str) and len(name) <= _LONGEST_PATH:
        path = PurePosixPath(name)
        whole = path.parts and not path.is_absolute() and str(path) == name
        odd = _UNPRINTABLE.search(name) or _FOREIGN.search(name) or ".." in path.parts
        if whole and not odd and len(path.parts) <= _MOST_FOLDERS:
            return name
    raise BundleError(f"unsafe path {shortened(name)} in a manifest")


def require_options(backend: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a bundle may not hand to a backend's runtime.

    Raises:
        BundleError: naming the first.
    """
    allowed = get_backend(backend).bundle_options if backend in backend_names() else None
    for name, value in options.items():
        if not isinstance(value, str | int | float):
            raise BundleError(f"option {shortened(name)} is neither text nor a number")
        if allowed is None:
            continue
        if name not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise BundleError(f"a bundle may not set {backend}'s option {shortened(name)}; allowed: {known}")
        if not _VALUE.fullmatch(str(value)):
            raise BundleError(f"option {name} must be a word or a number below 10000, not {shortened(value)}")


def shortened(value: Any) -> str:
    """At most 60 characters of a value, as Python writes it."""
    text = ascii(value if not isinstance(value, str) else value[:60])
    return text if len(text) <= 60 else f"{text[:57]}..."
