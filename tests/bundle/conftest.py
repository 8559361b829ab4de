"""Bundles of the tiny network, and a forger who makes digests fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends import get_backend
from edgetl.bundle.manifest import NAME
from edgetl.bundle.write import Content, write_bundle
from edgetl.contract import Contract
from edgetl.device.environment import environment, fingerprint
from edgetl.errors import BundleError
from edgetl.files import digest_of, relative_files, sha256_file

LABELS = ("blue", "green", "red")

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def contents(kits: Callable[[str], Any], contract: Contract, batch: np.ndarray) -> Callable[[str], Content]:
    def content(name: str) -> Content:
        kit = kits(name)
        session = get_backend(name).load(kit.int8_engine, kit.spec)
        return Content(
            target=kit.target.name,
            spec=kit.spec,
            engine=kit.int8_engine.parent,
            portable=kit.int8_model,
            contract=contract,
            labels=LABELS,
            precision=session.precision().to_dict(),
            device=fingerprint(environment()),
            versions={"edgetl": "0.1.0", "numpy": "2.0"},
            provenance={"model": "abc"},
            golden_input=batch[:4],
            golden_output=np.concatenate([session.run(image[None]) for image in batch[:4]]),
            measurements={},
            trained_on=["b" * 64, "a" * 64],
        )

    return content


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
