from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import MAX_MANIFEST_BYTES, NAME, read_manifest

Change = Callable[[dict[str, Any]], None]


def setting(*path: str, value: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "a/../b",
        "a\\b",
        "..\\x",
        "C:x",
        "",
        ".",
        "./a",
        "a//b",
        "a/",
        "a" * 256,
        "a/" * 9 + "b",
        3,
        None,
    ],
)
@pytest.mark.parametrize("where", ["files", "engine"])
def test_paths_that_leave_the_bundle(bundle: Path, name: Any, where: str, rewrite: Any, refused: Any) -> None:
    def forge(document: dict[str, Any]) -> None:
        if where == "engine":
            document["engine"]["file"] = name
        else:
            document["files"][name] = {"sha256": "0" * 64, "bytes": 1}

    if where == "files" and not isinstance(name, str):
        pytest.skip("keys of a JSON table are text")
    rewrite(bundle, forge)
    assert "unsafe path" in refused(lambda: read_manifest(bundle))


@pytest.mark.parametrize(
    "change",
    [
        setting("schema", value="edgetl.bundle/2"),
        setting("contract_fingerprint", value="0" * 64),
        setting("contract", "mean", value=[0.5, 0.5, 0.5]),
        setting("contract", "height", value=float("inf")),
        setting("contract", value=None),
        setting("engine", value=[]),
        setting("engine", "file", value="engine/none.xml"),
        setting("engine", "threads", value=float("inf")),
        setting("engine", "options", value=3),
        setting("labels", value=3),
        setting("files", value=[]),
        setting("files", value={}),
        setting("files", "sbom.json", value=3),
        setting("files", "sbom.json", value={"sha256": "0" * 64, "bytes": float("inf")}),
        setting("files", "sbom.json", value={"sha256": "0" * 64, "bytes": 1}),
        setting("versions", value="x"),
        lambda document: document.pop("labels"),
        lambda document: document["files"].pop("golden/input.npy"),
    ],
)
def test_a_forged_manifest(bundle: Path, change: Change, rewrite: Any, refused: Any) -> None:
    rewrite(bundle, change)
    refused(lambda: check_files(bundle))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, '{"schema": "edgetl.bundle/1"}'])
def test_a_manifest_that_is_none(bundle: Path, text: str, refused: Any) -> None:
    (bundle / NAME).write_text(text)
    refused(lambda: check_files(bundle))


def test_labels_cannot_be_exchanged(bundle: Path, refused: Any) -> None:
    path = bundle / NAME
    path.write_text(path.read_text().replace('"blue"', '"grey"'))
    assert "altered" in refused(lambda: check_files(bundle))


def test_an_oversize_manifest(bundle: Path, refused: Any) -> None:
    with (bundle / NAME).open("a") as handle:
        handle.write(" " * MAX_MANIFEST_BYTES)
    assert "too large" in refused(lambda: check_files(bundle))


def test_no_bundle(tmp_path: Path, refused: Any) -> None:
    for path in (tmp_path, tmp_path / "none"):
        assert "not a bundle" in refused(lambda path=path: check_files(path))
