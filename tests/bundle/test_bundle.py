from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends import get_backend
from edgetl.bundle.manifest import MAX_MANIFEST_BYTES, NAME, read_manifest
from edgetl.bundle.runtime import load, prediction
from edgetl.bundle.sbom import sbom
from edgetl.bundle.verify import check_files, verify
from edgetl.bundle.write import Content, write_bundle
from edgetl.contract import Contract
from edgetl.device.environment import environment, fingerprint
from edgetl.errors import BackendError, BundleError, EdgetlError, InputError
from edgetl.files import digest_of, relative_files, sha256_file

LABELS = ("blue", "green", "red")
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, contents: Callable[[str], Content]) -> Path:
    return write_bundle(contents("openvino"), tmp_path_factory.mktemp("bundles") / "one")


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def rewrite(bundle: Path, change: Change) -> None:
    """A forger's work: the manifest changed, and its digest made to fit."""
    document = json.loads((bundle / NAME).read_text())
    del document["digest"]
    change(document)
    document["digest"] = digest_of(document)
    (bundle / NAME).write_text(json.dumps(document))


def refresh(bundle: Path) -> None:
    """Make the listed digests fit what is there."""

    def files(document: dict[str, Any]) -> None:
        document["files"] = {
            name: {"sha256": sha256_file(bundle / name), "bytes": (bundle / name).stat().st_size}
            for name in relative_files(bundle)
            if name != NAME
        }

    rewrite(bundle, files)


def refused(check: Callable[[], object]) -> str:
    with pytest.raises(BundleError) as caught:
        check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_a_flipped_byte_in_any_file(bundle: Path) -> None:
    for name in relative_files(bundle):
        path = bundle / name
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            data = bytearray(whole)
            data[place] ^= 4
            path.write_bytes(data)
            message = refused(lambda: load(bundle))
            assert name in message
        path.write_bytes(whole)
    check_files(bundle)


def test_a_missing_file(bundle: Path) -> None:
    for name in relative_files(bundle):
        path = bundle / name
        whole = path.read_bytes()
        path.unlink()
        assert name in refused(lambda: check_files(bundle))
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["extra", "engine/extra.so", ".hidden", "golden/deep/er"])
def test_an_extra_file(bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_text("x")
    assert name in refused(lambda: check_files(bundle))


@pytest.mark.parametrize("name", ["engine/model.bin", NAME, "engine", "new"])
def test_a_symbolic_link(bundle: Path, tmp_path: Path, name: str) -> None:
    path = bundle / name
    if path.exists():
        path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    refused(lambda: check_files(bundle))


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../b", "a\\b", "..\\x", "C:x", "", ".", "./a", "a//b", "a/", "a\0b", 3, None],
)
@pytest.mark.parametrize("where", ["files", "engine"])
def test_paths_that_leave_the_bundle(bundle: Path, name: Any, where: str) -> None:
    def forge(document: dict[str, Any]) -> None:
        if where == "engine":
            document["engine"]["file"] = name
        else:
            document["files"][name] = {"sha256": "0" * 64, "bytes": 1}

    if where == "files" and not isinstance(name, str):
        pytest.skip("keys of a JSON table are text")
    rewrite(bundle, forge)
    assert "unsafe path" in refused(lambda: read_manifest(bundle))


def setting(*path: str, value: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


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
def test_a_forged_manifest(bundle: Path, change: Change) -> None:
    rewrite(bundle, change)
    refused(lambda: check_files(bundle))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, '{"schema": "edgetl.bundle/1"}'])
def test_a_manifest_that_is_none(bundle: Path, text: str) -> None:
    (bundle / NAME).write_text(text)
    refused(lambda: check_files(bundle))


def test_labels_cannot_be_exchanged(bundle: Path) -> None:
    path = bundle / NAME
    path.write_text(path.read_text().replace('"blue"', '"grey"'))
    assert "altered" in refused(lambda: check_files(bundle))


def test_an_oversize_manifest(bundle: Path) -> None:
    with (bundle / NAME).open("a") as handle:
        handle.write(" " * MAX_MANIFEST_BYTES)
    assert "too large" in refused(lambda: check_files(bundle))


def test_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        assert "not a bundle" in refused(lambda path=path: check_files(path))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_engine_is_noticed_even_with_fitting_digests(bundle: Path, share: float) -> None:
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
def test_golden_files_that_do_not_fit(bundle: Path, kind: str) -> None:
    np.save(bundle / "golden/input.npy", GOLDEN[kind])
    refresh(bundle)
    refused(lambda: verify(bundle))


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x93NUMPY", b"PK\x03\x04"])
def test_golden_files_that_are_none(bundle: Path, data: bytes) -> None:
    (bundle / "golden/output.npy").write_bytes(data)
    refresh(bundle)
    refused(lambda: verify(bundle))


def test_golden_pickle_is_not_run(bundle: Path) -> None:
    np.save(bundle / "golden/output.npy", np.array([{}], dtype=object), allow_pickle=True)
    refresh(bundle)
    refused(lambda: verify(bundle))


def test_an_engine_that_answers_otherwise(bundle: Path) -> None:
    output = np.load(bundle / "golden/output.npy")
    np.save(bundle / "golden/output.npy", output + 0.01 * output.std())
    refresh(bundle)
    assert "golden replay differs" in refused(lambda: verify(bundle))


def test_an_engine_of_another_size(bundle: Path, contract: Contract) -> None:
    other = replace(contract, height=31, width=31)

    def forge(document: dict[str, Any]) -> None:
        document["contract"], document["contract_fingerprint"] = other.to_dict(), other.fingerprint

    rewrite(bundle, forge)
    assert "contract" in refused(lambda: load(bundle))


def test_more_labels_than_outputs(bundle: Path) -> None:
    rewrite(bundle, setting("labels", value=[*LABELS, "grey"]))
    np.save(bundle / "golden/output.npy", np.zeros((4, 4), np.float32))
    refresh(bundle)
    refused(lambda: verify(bundle))


def mutate(bundle: Path, rng: np.random.Generator) -> str:
    """Do one random harm to a bundle; tells which."""
    names = relative_files(bundle)
    name = NAME if rng.random() < 0.4 else names[rng.integers(len(names))]
    path = bundle / name
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data)))
    harm = ("flip", "cut", "insert", "delete", "swap", "remove", "rename")[rng.integers(7)]
    if harm == "flip":
        data[place] ^= 1 << int(rng.integers(8))
    elif harm == "cut":
        del data[place:]
    elif harm == "insert":
        data[place:place] = bytes([int(rng.integers(0x21, 0x7F))])
    elif harm == "delete":
        del data[place]
    elif harm == "swap":
        other = bundle / names[(names.index(name) + 1) % len(names)]
        data = bytearray(other.read_bytes())
    elif harm == "remove":
        path.unlink()
        return f"{harm} {name}"
    elif harm == "rename":
        path.rename(path.with_name("renamed"))
        return f"{harm} {name}"
    path.write_bytes(data)
    return f"{harm} {name} at {place}"


def parsed(bundle: Path) -> object:
    try:
        return json.loads((bundle / NAME).read_bytes())
    except (OSError, ValueError):
        return None


def test_random_harm_is_never_accepted(pristine: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    meaning = parsed(pristine)
    refusals = 0
    for turn in range(250):
        bundle = Path(shutil.copytree(pristine, tmp_path / str(turn)))
        harm = mutate(bundle, rng)
        harmless = parsed(bundle) == meaning and " manifest.json at" in harm  # white space in the manifest
        try:
            check_files(bundle)
        except BundleError as error:
            refusals += 1
            assert "\n" not in str(error), harm  # noqa: PT017
        else:
            assert harmless, harm
        shutil.rmtree(bundle)
    assert refusals > 240


def test_random_harm_with_fitting_digests_raises_nothing_but_ours(pristine: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    for turn in range(25):
        bundle = Path(shutil.copytree(pristine, tmp_path / str(turn)))
        mutate(bundle, rng)
        if parsed(bundle) is None:
            continue
        try:
            refresh(bundle)
            verify(bundle)
        except (EdgetlError, KeyError):  # KeyError: the forger's own, of a manifest without its parts
            pass
        shutil.rmtree(bundle)


def test_prediction_is_a_softmax() -> None:
    found = prediction(np.array([1000.0, 1001.0, -1000.0], np.float32), LABELS)
    assert found.label == "green" and found.probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert list(found.probabilities) == ["green", "blue", "red"]
    assert found.to_dict()["label"] == "green"


def test_sbom_lists_every_package_once() -> None:
    found = sbom("t", {"b_c": "2", "A": "1"})
    assert [part["purl"] for part in found["components"]] == ["pkg:pypi/a@1", "pkg:pypi/b-c@2"]
