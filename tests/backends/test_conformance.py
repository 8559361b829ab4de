"""What every backend must do, on a real network of three convolutions."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends import backend_names, get_backend
from edgetl.backends.base import Backend, Calibration, EngineSpec, Session
from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.profiles import Recipe

PRECISIONS = ("f32", "int8")


@pytest.fixture
def backend(kit: Any) -> Backend:
    return get_backend(kit.name)


@pytest.fixture(params=PRECISIONS)
def engine(request: pytest.FixtureRequest, kit: Any) -> tuple[Path, EngineSpec]:
    found: tuple[Path, EngineSpec] = kit.with_file(request.param)
    return found


@pytest.fixture
def session(backend: Backend, engine: tuple[Path, EngineSpec]) -> Session:
    return backend.load(*engine)


def test_is_available(kit: Any, backend: Backend) -> None:
    found = backend.available()
    assert found.ok and found.reason is None and kit.spec.device in found.devices
    assert kit.name in found.versions and kit.name in backend_names()


def test_run(session: Session, batch: np.ndarray) -> None:
    assert session.input_shape == (32, 32, 3)
    for image in batch[:3]:
        logits = session.run(image[None])
        assert logits.shape == (1, 3) and logits.dtype == np.float32 and np.isfinite(logits).all()


def test_answers_are_the_callers_to_keep(session: Session, batch: np.ndarray) -> None:
    first = session.run(batch[:1])
    kept = first.copy()
    session.run(batch[1:2])
    assert np.array_equal(first, kept)


def test_any_number_of_images_at_once(session: Session, batch: np.ndarray) -> None:
    single = np.concatenate([session.run(image[None]) for image in batch])
    for n in (1, 5, 12):
        assert np.allclose(session.run(batch[:n]), single[:n], atol=1e-4)


def test_run_many_is_run_and_every_index_comes_once(
    backend: Backend, engine: tuple[Path, EngineSpec], batch: np.ndarray
) -> None:
    images = np.concatenate([batch] * 5)
    found: list[tuple[int, np.ndarray]] = []
    many = backend.load(*engine, throughput=True)
    many.run_many((image[None] for image in images), lambda index, logits: found.append((index, logits)))
    assert sorted(index for index, _ in found) == list(range(60))
    one = backend.load(*engine)
    for index, logits in found:
        assert np.allclose(logits, one.run(images[index][None]), atol=1e-4)


def test_run_many_of_nothing(session: Session) -> None:
    session.run_many(iter(()), lambda index, logits: pytest.fail("called"))


def test_run_many_hands_on_what_the_source_raises(session: Session, batch: np.ndarray) -> None:
    def source() -> Iterator[np.ndarray]:
        yield batch[:1]
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        session.run_many(source(), lambda index, logits: None)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 31, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 1), np.uint8),
    ],
)
def test_wrong_input_is_refused(session: Session, images: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8"):
        session.run(images)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision_is_read_back(backend: Backend, kit: Any, precision: str) -> None:
    found = backend.load(*kit.with_file(precision)).precision()
    assert found.asked == precision and found.used == precision
    assert found.layers[precision] >= 3


def test_a_float_engine_does_not_pass_for_int8(backend: Backend, kit: Any) -> None:
    assert backend.load(kit.float_engine, kit.spec).precision().used == "f32"


def test_placement(session: Session, kit: Any) -> None:
    found = session.placement()
    assert found.device == kit.spec.device and found.share_of_nodes == 1.0 and found.elsewhere == ()
    assert found.share_of_time == 1.0


def test_quantized_logits_are_close_to_float(backend: Backend, kit: Any, batch: np.ndarray) -> None:
    exact, quantized = (
        np.concatenate([backend.load(*kit.with_file(precision)).run(image[None]) for image in batch])
        for precision in PRECISIONS
    )
    correlation = np.corrcoef(exact.ravel(), quantized.ravel())[0, 1]
    # NNCF takes the mean of the images' extremes, and so clips the loudest of these few
    assert (
        correlation > {"openvino": 0.93, "onnxruntime": 0.999}[kit.name]
        and (exact.argmax(1) == quantized.argmax(1)).mean() >= 11 / 12
    )


def test_quantizing_again_gives_the_same_bytes(
    backend: Backend, kit: Any, tiny: Any, recipe: Recipe, calibration: Calibration, tmp_path: Path
) -> None:
    backend.quantize(tiny.model, calibration, recipe, kit.target, [], tmp_path / "q.onnx")
    assert (tmp_path / "q.onnx").read_bytes() == kit.int8_model.read_bytes()


def test_building_again_gives_the_same_answers(
    backend: Backend, kit: Any, tmp_path: Path, batch: np.ndarray
) -> None:
    name = backend.build(kit.int8_model, kit.target, tmp_path)
    assert name == kit.int8_engine.name
    sessions = [backend.load(path, kit.spec) for path in (tmp_path / name, kit.int8_engine)]
    for image in batch:
        first, second = (session.run(image[None]) for session in sessions)
        assert np.array_equal(first, second)


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("activations", ["auto", "symmetric", "asymmetric"])
def test_every_recipe_works_or_says_why_not(
    method: str,
    activations: str,
    backend: Backend,
    kit: Any,
    tiny: Any,
    recipe: Recipe,
    calibration: Calibration,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    changed = recipe.model_copy(update={"method": method, "activations": activations})
    out = tmp_path / "q.onnx"
    if (kit.name, method) == ("openvino", "entropy"):
        with pytest.raises(InputError, match="entropy"):
            backend.quantize(tiny.model, calibration, changed, kit.target, [], out)
        return
    backend.quantize(tiny.model, calibration, changed, kit.target, [], out)
    engine = tmp_path / backend.build(out, kit.target, tmp_path)
    assert backend.load(engine, kit.spec).precision().used == "int8"
    assert capfd.readouterr().out == ""


def test_nodes_kept_in_float(
    backend: Backend, kit: Any, tiny: Any, recipe: Recipe, calibration: Calibration, tmp_path: Path
) -> None:
    out = tmp_path / "q.onnx"
    backend.quantize(tiny.model, calibration, recipe, kit.target, ["conv0", "conv1"], out)
    engine = tmp_path / backend.build(out, kit.target, tmp_path)
    assert backend.load(engine, kit.spec).precision().layers["f32"] >= 2


def test_calibration_holds_one_image_at_a_time(
    backend: Backend, kit: Any, tiny: Any, recipe: Recipe, batch: np.ndarray, tmp_path: Path
) -> None:
    alive = most = 0

    def died() -> None:
        nonlocal alive
        alive -= 1

    def batches() -> Iterator[np.ndarray]:
        nonlocal alive, most
        for image in np.concatenate([batch] * 3):
            array = image[None].copy()
            weakref.finalize(array, died)
            alive += 1
            most = max(most, alive)
            yield array
            del array

    backend.quantize(tiny.model, Calibration(batches, 36), recipe, kit.target, [], tmp_path / "q.onnx")
    assert most <= 2  # the one in work and the one just made


@pytest.mark.parametrize("data", [b"", b"\x00garbage" * 50, b"hello", b"<html></html>", None])
def test_garbage_engine(backend: Backend, kit: Any, tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / kit.int8_engine.name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BackendError) as caught:
        backend.load(path, kit.spec)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_engine(backend: Backend, kit: Any, tmp_path: Path) -> None:
    for source in kit.int8_engine.parent.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    for victim in list(tmp_path.iterdir()):
        whole = victim.read_bytes()
        for share in (0, 0.5, 0.95):
            victim.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(BackendError) as caught:
                backend.load(tmp_path / kit.int8_engine.name, kit.spec)
            assert "\n" not in str(caught.value)
        victim.write_bytes(whole)
    backend.load(tmp_path / kit.int8_engine.name, kit.spec)


def test_foreign_engine_without_the_uint8_input(
    backend: Backend, kit: Any, tiny: Any, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(tiny.foreign.read_bytes())
    with pytest.raises(BackendError, match="uint8") as caught:
        backend.load(path, kit.spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["NOPE", "CUDAExecutionProvider", "GPU.7", ""])
def test_unknown_device(backend: Backend, kit: Any, device: str) -> None:
    with pytest.raises(BackendError) as caught:
        backend.load(kit.int8_engine, replace(kit.spec, device=device))
    assert "\n" not in str(caught.value)


def test_garbage_does_not_become_an_engine(backend: Backend, kit: Any, tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(BackendError) as caught:
        backend.load(tmp_path / backend.build(tmp_path / "garbage.onnx", kit.target, tmp_path), kit.spec)
    assert "\n" not in str(caught.value)


def test_quantizing_garbage_is_an_edgetl_error(
    backend: Backend, kit: Any, recipe: Recipe, calibration: Calibration, tmp_path: Path
) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(EdgetlError) as caught:
        backend.quantize(
            tmp_path / "garbage.onnx", calibration, recipe, kit.target, [], tmp_path / "out.onnx"
        )
    assert "\n" not in str(caught.value)
