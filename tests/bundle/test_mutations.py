"""Harmed and forged bundles in the hands of all that reads bundles; benchmarks/mutations.py does more."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from benchmarks.forged import PATHS
from benchmarks.forgery import KINDS, Forger, Kind
from benchmarks.mutations import DOUBTFUL, INVALID, Child, listing, tried
from benchmarks.small_bundle import make_bundle, reader_of
from edgetl.bundle.check import check_files
from edgetl.bundle.golden import MOST_IMAGES
from edgetl.bundle.limits import require_options, require_plain, safe_path
from edgetl.bundle.manifest import NAME, parse_manifest
from edgetl.bundle.runtime import Model, load
from edgetl.bundle.verify import verify
from edgetl.bundle.write import Content, write_bundle
from edgetl.errors import BackendError, BundleError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="makes special files, and limits memory")
Refuse = Callable[[Callable[[], object]], str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("whole")
    for name in ("openvino", "onnxruntime"):
        (folder / f"made-{name}").mkdir()
    return [make_bundle(name, folder / f"made-{name}", folder / name) for name in ("openvino", "onnxruntime")]


@LINUX
def test_none_is_accepted_none_crashes_none_writes(whole: list[Path], tmp_path: Path) -> None:
    invalid = list(tried(whole, INVALID, 4 * len(INVALID), tmp_path))
    doubtful = list(tried(whole, DOUBTFUL, 2 * len(DOUBTFUL), tmp_path))
    looks = [look for trial in (*invalid, *doubtful) for look in trial.looks]
    assert len(invalid) > 140 and len(looks) > 6 * 150
    assert [str(look) for look in looks if look.outcome == "crashed"] == []
    assert [str(look) for look in looks if look.wrong] == []
    assert [name for trial in (*invalid, *doubtful) for name in trial.written] == []


@LINUX
def test_a_bundle_that_is_not_refused_is_noticed(whole: list[Path], tmp_path: Path) -> None:
    [trial] = tried(whole[:1], [Kind("harmless", "replay", lambda it: None)], 1, tmp_path)
    assert [look.consumer for look in trial.looks if look.wrong] == ["verify"]


@LINUX
def test_a_process_that_ends_is_noticed_and_replaced(whole: list[Path], tmp_path: Path) -> None:
    with contextlib.closing(Child(tmp_path)) as child:
        os.kill(child.pid, signal.SIGKILL)
        assert child.ask("check", whole[0])[0] == "crashed"
        assert child.ask("check", whole[0]) == ("accepted", "")


def test_what_is_written_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    before = listing(tmp_path)
    assert listing(tmp_path) == before
    (tmp_path / "x").write_text("22")
    assert listing(tmp_path) != before


@LINUX
def test_the_same_seed_makes_the_same_harm(whole: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "place"
    for kind in KINDS:
        found = []
        for _ in range(2):
            (place / "outside").mkdir(parents=True)
            (place / "outside/x").write_bytes(b"not yours\n")
            kind.harm(Forger(Path(shutil.copytree(whole[0], place / "bundle")), Random(3)))
            paths = sorted(path for path in place.rglob("*") if not path.is_symlink())
            found.append([(path, path.stat().st_size < 1 << 30 and _bytes(path)) for path in paths])
            shutil.rmtree(place)
        assert found[0] == found[1], kind.name


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_a_whole_bundle_is_accepted(whole: list[Path]) -> None:
    for bundle in whole:
        assert verify(bundle).max_abs == 0


def test_a_manifest_is_the_bytes_that_edgetl_writes(whole: list[Path]) -> None:
    data = (whole[0] / NAME).read_bytes()
    assert parse_manifest(data).to_json().encode() == data
    for other in (data + b"\n", data.replace(b"\n", b"\r\n"), json.dumps(json.loads(data)).encode()):
        with pytest.raises(BundleError, match="not as edgetl writes it"):
            parse_manifest(other)


@pytest.mark.parametrize("name", PATHS)
def test_unsafe_paths(name: str) -> None:
    with pytest.raises(BundleError, match="unsafe path") as caught:
        safe_path(name)
    assert len(str(caught.value)) < 120 and str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["engine/model.xml", "engine/a b/ü.bin", "x", "trained_on.txt"])
def test_safe_paths(name: str) -> None:
    assert safe_path(name) == name


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("openvino", {"CACHE_DIR": "x"}),
        ("onnxruntime", {"trt_extra_plugin_lib_paths": "x"}),
        ("onnxruntime", {"session.model_external_initializers_file_folder_path": "x"}),
        ("qnn", {"backend_path": "x"}),
        ("litert", {"num_threads": 1}),
        ("openvino", {"NUM_STREAMS": 10_000}),
        ("openvino", {"NUM_STREAMS": "10000"}),
        ("openvino", {"PERFORMANCE_HINT": "a/b"}),
        ("openvino", {"PERFORMANCE_HINT": ["LATENCY"]}),
        ("somebodys", {"x": {"y": 1}}),
    ],
)
def test_options_that_a_bundle_may_not_set(backend: str, options: Mapping[str, Any]) -> None:
    with pytest.raises(BundleError, match="option"):
        require_options(backend, options)


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("openvino", {"allow_fallback": True, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 4}),
        ("onnxruntime", {"use_tf32": 0, "session.disable_quant_qdq": "1"}),
        ("rknn", {"soc": "rk3588"}),
        ("tensorrt", {"cuda_graph": False, "contexts": 2}),
        ("somebodys", {"anything": "/dev/somebodys0"}),
    ],
)
def test_options_that_a_bundle_may_set(backend: str, options: Mapping[str, Any]) -> None:
    require_options(backend, options)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**400, "\n", "\ud800", "x" * 5000, {"\x1b": 1}]
)
def test_what_is_not_plain(value: Any) -> None:
    with pytest.raises((BundleError, OverflowError)):
        require_plain({"provenance": [value]})


def test_a_bundle_that_nobody_could_read_is_not_written(
    contents: Callable[[str], Content], tmp_path: Path
) -> None:
    content = contents("openvino")
    with pytest.raises(BundleError, match="CACHE_DIR"):
        write_bundle(replace(content, spec=replace(content.spec, options={"CACHE_DIR": "x"})), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("inside", [True, False])
def test_weights_outside_the_engine_are_not_read(
    backend: str, inside: bool, whole: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"abc")
    bundle = Path(shutil.copytree(whole[backend == "onnxruntime"], tmp_path / "bundle"))
    forger = Forger(bundle, Random(0))
    (bundle / "engine/model.onnx").write_bytes(reader_of("secret" if inside else "../../secret"))
    if inside:
        (bundle / "engine/secret").write_bytes(b"abc")
    document = forger.read()
    document["engine"].update(file="engine/model.onnx")
    forger.seal(document)
    forger.seal_files()
    if inside:
        logits = load(bundle).logits(np.zeros((32, 32, 3), np.uint8))
        assert [round(float(value)) for value in logits] == list(b"abc")
    else:
        with pytest.raises(BackendError, match=r"outside|escapes"):
            load(bundle)


class _Answering:
    """A session that gives the logits it is told to."""

    def __init__(self, *logits: float) -> None:
        self.answer = np.array([logits], np.float32)

    def run(self, images: np.ndarray) -> np.ndarray:
        return self.answer


def test_answers_that_are_none(pristine: Path) -> None:
    model: Model = load(pristine)
    picture = np.zeros((36, 36, 3), np.uint8)
    for logits in ((np.nan, 0, 0), (0, np.inf, 0)):
        model.session = _Answering(*logits)  # type: ignore[assignment]
        with pytest.raises(BackendError, match="not finite"):
            model.predict(picture)
    for logits in ((0.0, 1.0), (0.0, 1.0, 2.0, 3.0)):
        model.session = _Answering(*logits)  # type: ignore[assignment]
        with pytest.raises(BundleError, match="outputs for 3 labels"):
            model.predict(picture)


def test_golden_output_that_is_not_finite(bundle: Path, refresh: Any, refused: Refuse) -> None:
    output = np.load(bundle / "golden/output.npy")
    for value in (np.nan, np.inf):
        output[1, 1] = value
        np.save(bundle / "golden/output.npy", output)
        refresh(bundle)
        assert "not finite" in refused(lambda: verify(bundle))


def test_more_golden_images_than_anybody_needs(bundle: Path, refresh: Any, refused: Refuse) -> None:
    np.save(bundle / "golden/input.npy", np.zeros((MOST_IMAGES + 1, 32, 32, 3), np.uint8))
    np.save(bundle / "golden/output.npy", np.zeros((MOST_IMAGES + 1, 3), np.float32))
    refresh(bundle)
    assert "does not fit" in refused(lambda: check_files(bundle))
