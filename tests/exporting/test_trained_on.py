from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.exporting.foreign import open_graph
from edgetl.exporting.graph import with_metadata
from edgetl.store import Store


def test_a_model_file_tells_its_training_images(tiny: Any, contract: Contract, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(with_metadata(tiny.model, contract, ["a", "b", "c"], ["f" * 64, "0" * 64, "f" * 64]))
    graph = open_graph(Context(Store(tmp_path / "store")), path)
    assert graph.trained_on == ("0" * 64, "f" * 64)
    assert graph.labels == ("a", "b", "c") and graph.contract == contract
    assert open_graph(Context(Store(tmp_path / "store")), tiny.model).trained_on == ()
