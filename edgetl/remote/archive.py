"""The worker: this package's device runtime in one zip file that any Python 3.10 or later runs."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

_ROOMS = (
    *("backends", "bundle", "contract", "data", "device", "gate", "measurement", "remote", "toolchains"),
    *("__init__", "benchmark", "context", "engines", "errors", "files", "findings", "metrics", "progress"),
    *("quantity", "rebuilding", "results", "store", "versions"),
)
_MAIN = "from edgetl.remote.worker import main\n\nmain()\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@cache
def worker() -> bytes:
    """The archive, with the same bytes for the same sources."""
    package = Path(__file__).resolve().parent.parent
    sources = [
        path
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0].removesuffix(".py") in _ROOMS
    ]
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(sources):
            _add(archive, path.relative_to(package.parent).as_posix(), path.read_bytes())
        _add(archive, "__main__.py", _MAIN.encode())
    return held.getvalue()


@cache
def installer() -> bytes:
    """The program that installs an engine's runtime, as an archive too."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        _add(archive, "__main__.py", Path(__file__).with_name("installer.py").read_bytes())
    return held.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
