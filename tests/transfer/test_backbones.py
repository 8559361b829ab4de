from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import InputError
from edgetl.files import sha256_file
from edgetl.transfer.backbones import DEFAULT, Backbone, contract_of, load, resolve

timm = pytest.importorskip("timm")
NAME = "test_resnet"  # timm's own small network for tests
CONFIG: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(timm.create_model(NAME).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("change", "resize", "shorter", "interpolation"),
    [
        ({}, "shorter", 256, "bicubic"),
        ({"crop_pct": 0.95}, "shorter", 235, "bicubic"),
        ({"crop_pct": 1.0}, "shorter", 224, "bicubic"),
        ({"crop_pct": None, "interpolation": None}, "shorter", 224, "bilinear"),
        ({"crop_mode": "squash"}, "stretch", 256, "bicubic"),
        ({"crop_mode": "center"}, "shorter", 256, "bicubic"),
    ],
)
def test_contract_of(change: dict[str, Any], resize: str, shorter: int, interpolation: str) -> None:
    found = contract_of({**CONFIG, **change})
    assert (found.height, found.width) == (224, 224)
    assert (found.resize, found.resize_to, found.interpolation) == (resize, shorter, interpolation)
    assert found.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("change", [{"crop_mode": "border"}, {"interpolation": "random"}])
def test_contracts_that_cannot_be_kept(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        contract_of({**CONFIG, **change})


def test_contract_is_timms_own_transform() -> None:
    """For every network of a few families: the sizes that timm's own evaluation transform resizes to."""
    from timm.data import create_transform, resolve_data_config

    for name in ("resnet18", "mobilenetv3_small_100", "tf_efficientnet_lite0", "vit_tiny_patch16_224"):
        config = timm.get_pretrained_cfg(name).to_dict()
        steps = create_transform(**resolve_data_config(pretrained_cfg=config)).transforms
        found = contract_of(config)
        assert steps[0].size == found.resize_to
        assert tuple(steps[1].size) == (found.height, found.width)
        assert steps[0].interpolation.value == found.interpolation


def test_resolve(weights: Path) -> None:
    assert resolve(NAME, weights) == Backbone(NAME, weights, sha256_file(weights))
    assert resolve(NAME, "hub") == Backbone(NAME, None, f"hub:{NAME}")
    default = resolve()
    assert default.name == DEFAULT and default.weights is not None
    assert default.parts()["weights"] == default.digest


def test_resolve_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--weights"):
        resolve(NAME)
    with pytest.raises(InputError, match="does not exist"):
        resolve(NAME, tmp_path / "none.pth")


def test_load(weights: Path) -> None:
    import torch

    module, contract = load(resolve(NAME, weights))
    assert not module.training and not any(p.requires_grad for p in module.parameters())
    with torch.inference_mode():
        features = module(torch.zeros(2, 3, contract.height, contract.width))
    assert features.ndim == 2 and features.shape[1] == module.num_features


def test_load_takes_a_wrapped_state_dict_and_safetensors(weights: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = torch.load(weights, weights_only=True)
    torch.save({"state_dict": state}, tmp_path / "wrapped.pt")
    save_file(state, tmp_path / "w.safetensors")
    wanted = load(resolve(NAME, weights))[0].state_dict()
    for name in ("wrapped.pt", "w.safetensors"):
        found = load(resolve(NAME, tmp_path / name))[0].state_dict()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_a_classifier_of_another_size_is_no_hindrance(weights: Path, tmp_path: Path) -> None:
    import torch

    torch.save(timm.create_model(NAME, num_classes=7).state_dict(), tmp_path / "seven.pth")
    load(resolve(NAME, tmp_path / "seven.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(weights: Path, tmp_path: Path, value: float) -> None:
    import torch

    state = torch.load(weights, weights_only=True)
    next(iter(state.values())).view(-1)[0] = value
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="NaN or infinity"):
        load(resolve(NAME, tmp_path / "bad.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04garbage", b"\x80\x02."])
def test_damaged_weights_files(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load(resolve(NAME, path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_run_code_are_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "pwned",))

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(InputError):
        load(resolve(NAME, tmp_path / "w.pth"))
    assert not (tmp_path / "pwned").exists()


def test_weights_of_another_network(weights: Path) -> None:
    with pytest.raises(InputError, match="does not fit"):
        load(resolve("test_vit", weights))


def test_unknown_network(weights: Path) -> None:
    with pytest.raises(InputError, match="timm has no model 'resnet_nope'; similar: "):
        load(resolve("resnet_nope", weights))
