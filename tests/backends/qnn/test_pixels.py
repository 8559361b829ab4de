"""The prefix as the HTP takes it computes what it did, judged by onnxruntime."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgetl.backends.base import Calibration
from edgetl.backends.qnn.pixels import start_from_pixels
from edgetl.backends.qnn.quantizer import quantize
from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import graft_prefix
from edgetl.profiles import Recipe


@pytest.fixture(scope="module", params=("uniform", "by channel"))
def model(
    request: pytest.FixtureRequest, tiny: object, contract: Contract, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """The tiny network with a prefix whose mean and std are the same for the channels, and with another."""
    half = (0.5, 0.5, 0.5)
    chosen = replace(contract, mean=half, std=half) if request.param == "uniform" else contract
    path = tmp_path_factory.mktemp("pixels") / "model.onnx"
    onnx.save(graft_prefix(onnx.load(tiny.foreign), chosen), path)  # type: ignore[attr-defined]
    return request.param, path


def test_quantized_from_pixels(
    model: tuple[str, Path], calibration: Calibration, recipe: Recipe, batch: np.ndarray, tmp_path: Path
) -> None:
    kind, source = model
    out = tmp_path / "q.onnx"
    quantize(source, calibration, recipe, [], out)
    graph = onnx.load(out).graph
    operators = Counter(node.op_type for node in graph.node)
    assert not {"Cast", "Sub", "Div"} & set(operators)
    assert operators["Conv"] == (3 if kind == "uniform" else 4)
    first = next(node for node in graph.node if "images" in node.input)
    assert first.op_type == "DequantizeLinear"
    exact, found = _logits(source, batch), _logits(out, batch)
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.99
    assert (exact.argmax(1) == found.argmax(1)).all()


def test_a_float_model_starts_without_a_cast(
    model: tuple[str, Path], batch: np.ndarray, tmp_path: Path
) -> None:
    _, source = model
    graph = onnx.load(source)
    start_from_pixels(graph)
    assert not any(node.op_type == "Cast" for node in graph.graph.node)
    onnx.checker.check_model(graph, full_check=True)
    out = tmp_path / "model.onnx"
    onnx.save(graph, out)
    assert np.array_equal(_logits(source, batch), _logits(out, batch))


def test_quantizing_again_gives_the_same_bytes(
    model: tuple[str, Path], calibration: Calibration, recipe: Recipe, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        quantize(model[1], calibration, recipe, [], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def _logits(path: Path, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(None, {"images": batch})[0]
    return logits
