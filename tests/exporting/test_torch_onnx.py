from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import has_prefix, read_contract
from edgetl.errors import EdgetlError
from edgetl.exporting.graph import read
from edgetl.exporting.torch_onnx import export_backbone

torch = pytest.importorskip("torch")


def network() -> torch.nn.Module:  # type: ignore[name-defined]
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    ).eval()


def test_export_is_what_torch_computes(
    contract: Contract, batch: np.ndarray, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module = network()
    facts = export_backbone(module, contract, tmp_path / "m.onnx")
    assert capfd.readouterr().out == ""
    model = read(tmp_path / "m.onnx")
    assert facts["outputs"] == 6 == model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    assert has_prefix(model) and read_contract(model) == contract
    pixels = (batch / 255 - np.array(contract.mean)) / np.array(contract.std)
    with torch.inference_mode():
        wanted = module(torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 3, 12):  # the batch is dynamic
        assert np.allclose(session.run(None, {"images": batch[:n]})[0], wanted[:n], atol=1e-5)
    export_backbone(network(), contract, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_what_torch_cannot_export_is_one_line(contract: Contract, tmp_path: Path) -> None:
    class Hopeless(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
            raise ValueError("two\nlines")

    with pytest.raises(EdgetlError, match=r"Hopeless to ONNX: ValueError: two$") as caught:
        export_backbone(Hopeless(), contract, tmp_path / "m.onnx")
    assert "\n" not in str(caught.value) and not (tmp_path / "m.onnx").exists()
