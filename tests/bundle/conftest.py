"""Bundles of the tiny network, and a forger who makes digests fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetl.bundle.manifest import NAME
from edgetl.bundle.write import Content, write_bundle
from edgetl.errors import BundleError
from edgetl.files import digest_of, relative_files, sha256_file

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, contents: Callable[[str], Content]) -> Path:
    return write_bundle(contents("openvino"), tmp_path_factory.mktemp("bundles") / "one")


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def _rewrite(bundle: Path, change: Change) -> None:
    """A forger's work: the manifest changed, and its digest made to fit."""
    document = json.loads((bundle / NAME).read_text())
    del document["digest"]
    change(document)
    document["digest"] = digest_of(document)
    (bundle / NAME).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _refresh(bundle: Path) -> None:
    """Make the listed digests fit what is there."""

    def files(document: dict[str, Any]) -> None:
        document["files"] = {
            name: {"sha256": sha256_file(bundle / name), "bytes": (bundle / name).stat().st_size}
            for name in relative_files(bundle)
            if name != NAME
        }

    _rewrite(bundle, files)


def _refused(check: Callable[[], object]) -> str:
    with pytest.raises(BundleError) as caught:
        check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def rewrite() -> Any:
    return _rewrite


@pytest.fixture
def refresh() -> Any:
    return _refresh


@pytest.fixture
def refused() -> Any:
    return _refused
