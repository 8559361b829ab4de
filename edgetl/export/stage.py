"""Export: backbone and head as one checked ONNX, proved equal to torch on real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.context import Context, open_throughput
from edgetl.contract import Contract, UnreadableImageError
from edgetl.contract.onnx_prefix import set_metadata
from edgetl.contract.stream import stream
from edgetl.data import Sample
from edgetl.errors import EdgetlError
from edgetl.export.graph import read, save
from edgetl.export.head import add_head
from edgetl.export.parity import Float32, Parity, compare, require
from edgetl.files import digest_of, sha256_file
from edgetl.quantity import Quantity
from edgetl.transfer.backbones import Backbone, load
from edgetl.transfer.head import Head
from edgetl.versions import versions

_MODEL = "model.onnx"
PARITY_IMAGES = 32


@dataclass(frozen=True)
class Exported:
    """An ONNX file ``images: uint8 [N, H, W, 3] → logits: float32 [N, C]`` with its contract and labels inside."""

    path: Path
    digest: str
    facts: Mapping[str, Any]


def assemble(
    context: Context, backbone: Path, head: Head, contract: Contract, labels: Sequence[str], *, batch: int | None = None
) -> Exported:
    """Join a backbone (float or quantized) and a head; write contract and labels into the metadata."""
    parts = {
        "backbone": sha256_file(backbone),
        "weight": digest_of(head.weight.tolist()),
        "bias": digest_of(head.bias.tolist()),
        "contract": contract.fingerprint,
        "labels": list(labels),
        "batch": batch,
        "onnx": versions("onnx"),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        model = add_head(read(backbone), head.weight, head.bias)
        set_metadata(model, contract, labels)
        if batch:
            _fix_batch(model, batch)
        save(model, folder / _MODEL)
        return {"nodes": len(model.graph.node), "opset": model.opset_import[0].version}

    entry = context.store.get("model", parts, make)
    return Exported(entry.file(_MODEL), entry.digests[_MODEL], entry.facts)


def _fix_batch(model: Any, batch: int) -> None:
    for value in (*model.graph.input, *model.graph.output):
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.ClearField("dim_param")
        dimension.dim_value = batch
    del model.graph.value_info[:]


def check_parity(
    context: Context, exported: Exported, source: Backbone, head: Head, contract: Contract, samples: Sequence[Sample]
) -> Parity:
    """Compare the exported model with torch on the first real images.

    Raises:
        EdgetlError: if they differ by more than the tolerance.
    """
    chosen = list(samples[:PARITY_IMAGES])
    spec = context.reference
    parts = {
        "model": exported.digest,
        "images": [sample.digest for sample in chosen],
        **source.parts(),
        **context.engine_parts(spec),
        "torch": versions("torch"),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        images = _decode(chosen, contract)
        found: dict[int, Float32] = {}
        open_throughput(exported.path, spec).run_many((image[None] for image in images), found.__setitem__)
        candidate = np.concatenate([found[index] for index in range(len(images))])
        parity = compare(_torch_logits(source, head, contract, images), candidate)
        require(parity)
        return {"parity": parity.to_dict()}

    with context.observer.stage("export and compare with torch"):
        facts = context.store.get("parity", parts, make).facts["parity"]
    return Parity(**{**facts, "top1_agreement": Quantity.from_dict(facts["top1_agreement"])})


def _decode(samples: Sequence[Sample], contract: Contract) -> np.ndarray:
    decoded = stream((sample.path for sample in samples), contract)
    images = [image for image in decoded if not isinstance(image, UnreadableImageError)]
    if not images:
        raise EdgetlError("export: none of the images for the comparison with torch can be read")
    return np.stack(images)


def _torch_logits(source: Backbone, head: Head, contract: Contract, images: np.ndarray) -> Float32:
    import torch

    module, _ = load(source)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(contract.mean).view(1, 3, 1, 1)
    std = torch.tensor(contract.std).view(1, 3, 1, 1)
    with torch.inference_mode():
        features = module((pixels - mean) / std)
        logits = features @ torch.from_numpy(head.weight).T + torch.from_numpy(head.bias)
    result: Float32 = logits.numpy()
    return result
