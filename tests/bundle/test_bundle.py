from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.bundle.check import check_files
from edgetl.bundle.runtime import load, prediction
from edgetl.bundle.sbom import sbom
from edgetl.bundle.verify import verify
from edgetl.bundle.write import Content, write_bundle
from edgetl.contract import Contract
from edgetl.errors import BackendError, InputError

LABELS = ("blue", "green", "red")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_write_check_verify_load_predict(
    name: str, contents: Callable[[str], Content], tmp_path: Path, batch: np.ndarray, contract: Contract
) -> None:
    content = contents(name)
    bundle = write_bundle(content, tmp_path / "bundle")
    manifest = check_files(bundle)
    assert (manifest.contract, manifest.labels) == (contract, LABELS)
    assert manifest.engine == replace(content.spec, file=f"engine/{content.spec.file}")
    assert manifest.precision["used"] == "int8"
    replay = verify(bundle)
    assert (replay.n, replay.same_top1, replay.same_device, replay.max_abs) == (4, True, True, 0.0)
    model = load(bundle)
    for image, logits in zip(batch[:4], content.golden_output, strict=True):
        # a picture of 36 x 36 keeps its pixels and loses its border
        found = model.predict(np.pad(image, ((2, 2), (2, 2), (0, 0))))
        assert found.label == LABELS[int(logits.argmax())]
        assert sum(found.probabilities.values()) == pytest.approx(1)
        assert found.probability == max(found.probabilities.values())


def test_the_engine_is_as_its_vendor_made_it(pristine: Path, kits: Callable[[str], Any]) -> None:
    source = kits("openvino").int8_engine.parent
    for path in source.iterdir():
        assert (pristine / "engine" / path.name).read_bytes() == path.read_bytes()
    assert (pristine / "trained_on.txt").read_text() == "a" * 64 + "\n" + "b" * 64 + "\n"


def test_writing_again_replaces_and_never_replaces_strangers(
    contents: Callable[[str], Content], tmp_path: Path
) -> None:
    for _ in range(2):
        check_files(write_bundle(contents("openvino"), tmp_path / "bundle"))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(InputError):
        write_bundle(contents("openvino"), tmp_path / "photos")


def test_a_moved_bundle_is_the_same_bundle(bundle: Path, tmp_path: Path) -> None:
    verify(bundle.rename(tmp_path / "elsewhere"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_engine_is_noticed_even_with_fitting_digests(
    bundle: Path, share: float, refresh: Any, refused: Any
) -> None:
    for name in ("model.xml", "model.bin"):
        path = bundle / "engine" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(lambda: load(bundle))
        refresh(bundle)
        with pytest.raises(BackendError):
            load(bundle)
        path.write_bytes(whole)
        refresh(bundle)


GOLDEN: Mapping[str, np.ndarray] = {
    "none": np.zeros((0, 32, 32, 3), np.uint8),
    "scalar": np.uint8(3) * np.ones((), np.uint8),
    "float": np.zeros((4, 32, 32, 3), np.float32),
    "other size": np.zeros((4, 31, 32, 3), np.uint8),
    "fewer": np.zeros((3, 32, 32, 3), np.uint8),
    "others": np.zeros((4, 32, 32, 3), np.uint8),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden_files_that_do_not_fit(bundle: Path, kind: str, refresh: Any, refused: Any) -> None:
    np.save(bundle / "golden/input.npy", GOLDEN[kind])
    refresh(bundle)
    refused(lambda: verify(bundle))


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x93NUMPY", b"PK\x03\x04"])
def test_golden_files_that_are_none(bundle: Path, data: bytes, refresh: Any, refused: Any) -> None:
    (bundle / "golden/output.npy").write_bytes(data)
    refresh(bundle)
    refused(lambda: verify(bundle))


def test_golden_pickle_is_not_run(bundle: Path, refresh: Any, refused: Any) -> None:
    np.save(bundle / "golden/output.npy", np.array([{}], dtype=object), allow_pickle=True)
    refresh(bundle)
    refused(lambda: verify(bundle))


def test_an_engine_that_answers_otherwise(bundle: Path, refresh: Any, refused: Any) -> None:
    output = np.load(bundle / "golden/output.npy")
    np.save(bundle / "golden/output.npy", output + 0.01 * output.std())
    refresh(bundle)
    assert "golden replay differs" in refused(lambda: verify(bundle))


def test_an_engine_of_another_size(
    bundle: Path, contract: Contract, rewrite: Any, refresh: Any, refused: Any
) -> None:
    other = replace(contract, height=31, width=31)

    def forge(document: dict[str, Any]) -> None:
        document["contract"], document["contract_fingerprint"] = other.to_dict(), other.fingerprint

    rewrite(bundle, forge)
    np.save(bundle / "golden/input.npy", np.zeros((4, 31, 31, 3), np.uint8))
    refresh(bundle)
    assert "the contract says (31, 31, 3)" in refused(lambda: load(bundle))


def test_more_labels_than_outputs(bundle: Path, rewrite: Any, refresh: Any, refused: Any) -> None:
    rewrite(bundle, lambda document: document.update(labels=[*LABELS, "grey"]))
    np.save(bundle / "golden/output.npy", np.zeros((4, 4), np.float32))
    refresh(bundle)
    refused(lambda: verify(bundle))


def test_prediction_is_a_softmax() -> None:
    found = prediction(np.array([1000.0, 1001.0, -1000.0], np.float32), LABELS)
    assert found.label == "green" and found.probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert list(found.probabilities) == ["green", "blue", "red"]
    assert found.to_dict()["label"] == "green"


def test_sbom_lists_every_package_once() -> None:
    found = sbom("t", {"b_c": "2", "A": "1"})
    assert [part["purl"] for part in found["components"]] == ["pkg:pypi/a@1", "pkg:pypi/b-c@2"]
