from __future__ import annotations

import json
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.backends import get_backend
from edgetl.contract import Contract, preprocess
from edgetl.data import Sample
from edgetl.errors import EdgetlError, InputError
from edgetl.measurement.end_to_end import EndToEnd, measure_end_to_end, read_pictures
from edgetl.measurement.latency import LatencyOptions
from tests.conftest import Kit

QUICK = LatencyOptions(rounds=6, round_seconds=0.02, min_samples=30, max_seconds=2.0, warmup_seconds=0.01)


@pytest.fixture(scope="module")
def pictures(samples: tuple[Sample, ...], contract: Contract) -> list[bytes]:
    return read_pictures([sample.path for sample in samples], contract, limit=5)


def test_the_logits_are_those_of_each_picture_in_turn(
    kit: Kit, pictures: list[bytes], contract: Contract
) -> None:
    session = get_backend(kit.name).load(kit.int8_engine, kit.spec)
    expected = [session.run(preprocess(picture, contract)[None])[0] for picture in pictures]
    whole = EndToEnd(session, contract, pictures)
    ignored = np.zeros((1, *contract.input_shape), np.uint8)
    found = [whole.run(ignored)[0] for _ in range(7)]
    np.testing.assert_array_equal(found, [*expected, *expected[:2]])
    rest: dict[int, np.ndarray] = {}
    whole.run_many(iter([ignored] * 3), rest.__setitem__)
    np.testing.assert_array_equal([rest[index][0] for index in range(3)], expected[2:])


def test_a_batch_takes_as_many_pictures(pictures: list[bytes], contract: Contract) -> None:
    class Echo:
        def run(self, images: np.ndarray) -> np.ndarray:
            return images.reshape(len(images), -1).astype(np.float32)

        run_many = None

    whole = EndToEnd(Echo(), contract, pictures)  # type: ignore[arg-type]
    found = whole.run(np.zeros((3, *contract.input_shape), np.uint8))
    expected = [preprocess(picture, contract).ravel() for picture in pictures[:3]]
    np.testing.assert_array_equal(found, expected)


def test_both_scopes_are_measured_in_the_same_rounds_and_named(
    kit: Kit, pictures: list[bytes], contract: Contract
) -> None:
    session = get_backend(kit.name).load(kit.int8_engine, kit.spec)
    found = measure_end_to_end(session, contract, pictures, options=QUICK)
    assert found.ratio.n >= 6
    assert found.ratio.value > 1
    facts = json.loads(json.dumps(found.to_dict()))
    assert facts["engine_only"]["scope"] == "engine only"
    assert facts["end_to_end"]["scope"] == "end-to-end"
    assert facts["end_to_end"]["notes"][0].startswith(
        "end-to-end: decode, orient, resize, crop and engine, 5"
    )
    assert facts["pictures"] == 5
    assert not any("end-to-end" in note for note in facts["engine_only"]["notes"])


def test_a_damaged_picture_is_an_error(kit: Kit, pictures: list[bytes], contract: Contract) -> None:
    session = get_backend(kit.name).load(kit.int8_engine, kit.spec)
    with pytest.raises(EdgetlError, match=r"damaged|not an image"):
        measure_end_to_end(session, contract, [pictures[0], pictures[1][:50]], options=QUICK)


def test_pictures_are_picked_evenly_and_readable(tmp_path: Path, contract: Contract) -> None:
    def png(level: int) -> bytes:
        buffer = BytesIO()
        Image.new("RGB", (40, 40), (level, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()

    paths = [tmp_path / f"{index:02}.png" for index in range(20)]
    for index, path in enumerate(paths):
        path.write_bytes(png(index))
    paths[4].write_bytes(b"not a picture")
    found = read_pictures([*paths], contract, limit=5)
    assert found == [png(0), png(8), png(12), png(16)]
    assert read_pictures(paths[:3], contract) == [png(0), png(1), png(2)]
    nothing = chain([tmp_path / "absent.png"], [paths[4]])
    with pytest.raises(InputError, match="none of the 2 pictures"):
        read_pictures(list(nothing), contract)
    with pytest.raises(InputError, match="no picture"):
        EndToEnd(None, contract, [])  # type: ignore[arg-type]
