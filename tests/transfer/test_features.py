from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec, Session
from edgetl.contract import Contract, preprocess
from edgetl.data import Sample
from edgetl.store import Store
from edgetl.transfer.features import extract


@pytest.fixture(params=["openvino", "onnxruntime"])
def opener(request: pytest.FixtureRequest, tiny: Any) -> Callable[[], Session]:
    device = "CPU" if request.param == "openvino" else "CPUExecutionProvider"
    spec = EngineSpec(request.param, tiny.backbone.name, "f32", "f32", device)
    return lambda: get_backend(request.param).load(tiny.backbone, spec, throughput=True)


def refuse() -> Session:
    raise AssertionError("the engine was opened")


@pytest.fixture
def store() -> Store:
    return Store()


def many(root: Path, number: int, start: int = 0) -> list[Sample]:
    samples = []
    for n in range(start, start + number):
        pixels = np.full((8, 8, 3), (n % 256, n // 256, 77), np.uint8)
        path = root / f"{n}.bmp"
        Image.fromarray(pixels).save(path)
        samples.append(Sample(str(path), 0, hashlib.sha256(path.read_bytes()).hexdigest()))
    return samples


def test_features_are_the_engines(
    opener: Callable[[], Session], samples: tuple[Sample, ...], contract: Contract, store: Store
) -> None:
    told: list[tuple[int, int]] = []
    found = extract(opener, samples, contract, store, {}, lambda done, total: told.append((done, total)))
    assert found.computed == 48 and found.unreadable == {} and told[-1] == (48, 48)
    session = opener()
    wanted = np.concatenate([session.run(preprocess(s.path, contract)[None]) for s in samples])
    matrix = found.matrix(samples)
    assert matrix.dtype == np.float32 and np.allclose(matrix, wanted, atol=1e-5)
    assert np.array_equal(found.matrix(samples[::-1]), matrix[::-1])
    assert np.array_equal(found.matrix([samples[3]] * 2), matrix[[3, 3]])


def test_a_second_time_nothing_is_computed(
    opener: Callable[[], Session], samples: tuple[Sample, ...], contract: Contract, store: Store
) -> None:
    first = extract(opener, samples, contract, store, {})
    again = extract(refuse, samples[::-1], contract, Store(store.root), {})
    assert again.computed == 0
    assert np.array_equal(again.matrix(samples), first.matrix(samples))


def test_another_engine_or_contract_shares_nothing(
    opener: Callable[[], Session], samples: tuple[Sample, ...], contract: Contract, store: Store
) -> None:
    extract(opener, samples[:4], contract, store, {"engine": 1})
    assert extract(opener, samples[:4], contract, store, {"engine": 2}).computed == 4
    changed = replace(contract, background=0)
    assert extract(opener, samples[:4], changed, store, {"engine": 1}).computed == 4


def test_where_a_file_lies_does_not_matter(
    opener: Callable[[], Session],
    samples: tuple[Sample, ...],
    contract: Contract,
    store: Store,
    tmp_path: Path,
) -> None:
    extract(opener, samples, contract, store, {})
    moved = [replace(sample, file=str(tmp_path / sample.path.name)) for sample in samples]
    assert extract(refuse, moved, contract, store, {}).computed == 0


def test_adding_images_computes_only_their_buckets(
    opener: Callable[[], Session], contract: Contract, store: Store, tmp_path: Path
) -> None:
    before = many(tmp_path, 270)
    extract(opener, before, contract, store, {})
    added = many(tmp_path, 2, start=270)
    found = extract(opener, [*before, *added], contract, store, {})
    assert 2 <= found.computed <= 272 / 3
    assert found.matrix([*added, *before]).shape == (272, 16)


def test_copies_are_computed_once(
    opener: Callable[[], Session], samples: tuple[Sample, ...], contract: Contract, store: Store
) -> None:
    assert extract(opener, [samples[0]] * 5, contract, store, {}).computed == 1


def test_an_unreadable_image_is_listed_and_remembered(
    opener: Callable[[], Session],
    samples: tuple[Sample, ...],
    contract: Contract,
    store: Store,
    tmp_path: Path,
) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    bad = Sample(str(tmp_path / "bad.png"), 0, "0" * 64)
    found = extract(opener, [*samples, bad], contract, store, {})
    assert list(found.unreadable) == ["0" * 64] and "not an image" in found.unreadable["0" * 64]
    assert extract(refuse, [*samples, bad], contract, store, {}).unreadable == found.unreadable
    assert np.isfinite(found.matrix(samples)).all()


def test_a_bucket_with_nothing_readable(
    opener: Callable[[], Session], contract: Contract, store: Store, tmp_path: Path
) -> None:
    good = [sample for sample in many(tmp_path, 400) if sample.digest >= "8"][:100]
    (tmp_path / "bad").write_text("no picture")
    bad = [Sample(str(tmp_path / "bad"), 0, f"{n:064x}") for n in range(30)]
    found = extract(opener, [*good, *bad], contract, store, {})
    assert len(found.unreadable) == 30
    assert found.matrix(good).shape == (len(good), 16) and np.isfinite(found.matrix(good)).all()


def test_no_images(contract: Contract, store: Store) -> None:
    found = extract(refuse, [], contract, store, {})
    assert found.computed == 0 and found.matrix([]).size == 0


def test_a_failing_engine_leaves_finished_buckets(
    opener: Callable[[], Session], contract: Contract, store: Store, tmp_path: Path
) -> None:
    samples = many(tmp_path, 270)

    def dying(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(opener, samples, contract, store, {}, dying)
    assert 0 < extract(opener, samples, contract, store, {}).computed < 270
