"""Export: backbone and head as one checked ONNX, proved equal to torch on real images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.backends.base import UInt8
from edgetl.context import Context, open_throughput
from edgetl.contract import Contract, UnreadableImageError
from edgetl.contract.onnx_prefix import read_contract, set_metadata
from edgetl.contract.stream import stream
from edgetl.data import Sample
from edgetl.exporting.graph import read, save
from edgetl.exporting.head import HeadRanges, add_head
from edgetl.exporting.parity import Float32, Parity, compare, require
from edgetl.exporting.torch_onnx import export_backbone
from edgetl.files import digest_of, sha256_file
from edgetl.quantity import Quantity
from edgetl.transfer.backbones import Backbone, load
from edgetl.transfer.head import Head
from edgetl.versions import versions

_MODEL = "model.onnx"
_EXPORTERS = ("torch", "onnx", "onnxscript", "onnxslim")
PARITY_IMAGES = 32


def compile_backbone(context: Context, backbone: Backbone) -> tuple[Path, Contract]:
    """The backbone as ONNX with the contract's prefix; torch is imported only if the store has it not."""
    parts = {**backbone.parts(), "exporters": versions(*_EXPORTERS)}

    def make(folder: Path) -> Mapping[str, Any]:
        module, contract = load(backbone)
        facts = export_backbone(module, contract, folder / _MODEL)
        return {**facts, "contract": contract.to_dict()}

    with context.observer.stage(f"export backbone {backbone.name}"):
        entry = context.store.get("backbone", parts, make)
    return entry.file(_MODEL), Contract.from_dict(entry.facts["contract"])


@dataclass(frozen=True)
class Exported:
    """An ONNX ``images: uint8 [N, H, W, 3] → logits: float32 [N, C]`` with contract and labels inside."""

    path: Path
    digest: str
    facts: Mapping[str, Any]


def assemble(
    context: Context,
    backbone: Path,
    head: Head,
    contract: Contract,
    labels: Sequence[str],
    *,
    batch: int | None = None,
    ranges: HeadRanges | None = None,
) -> Exported:
    """Join a backbone (float or quantized) and a head; write contract and labels into the metadata.

    Args:
        ranges: given, the head is quantized too.
    """
    parts = {
        "backbone": sha256_file(backbone),
        "weight": digest_of(head.weight.tolist()),
        "bias": digest_of(head.bias.tolist()),
        "contract": contract.fingerprint,
        "labels": list(labels),
        "batch": batch,
        "ranges": asdict(ranges) if ranges else None,
        "onnx": versions("onnx"),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        graph = read(backbone)
        if carried := read_contract(graph):
            carried.require(contract, mine="the backbone", theirs="the head")
        model = add_head(graph, head.weight, head.bias, ranges=ranges)
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
    context: Context,
    exported: Exported,
    source: Backbone,
    head: Head,
    contract: Contract,
    samples: Sequence[Sample],
) -> Parity:
    """Compare the exported model with torch on the first of the held-out images.

    Raises:
        EdgetlError: if they differ by more than the tolerance.
    """
    chosen = list(samples[:PARITY_IMAGES])
    decoded = stream((sample.path for sample in chosen), contract)
    images = [image for image in decoded if not isinstance(image, UnreadableImageError)]
    return require_parity(context, exported, source, head, contract, np.stack(images))


def require_parity(
    context: Context, exported: Exported, source: Backbone, head: Head, contract: Contract, images: UInt8
) -> Parity:
    """Compare the exported model with torch on preprocessed images, ``uint8 [n, H, W, 3]``.

    Raises:
        EdgetlError: if they differ by more than the tolerance.
    """
    spec = context.reference
    parts = {
        "model": exported.digest,
        "images": hashlib.sha256(images.tobytes()).hexdigest(),
        **source.parts(),
        **context.engine_parts(spec),
        "torch": versions("torch"),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        found: dict[int, Float32] = {}
        open_throughput(exported.path, spec).run_many((image[None] for image in images), found.__setitem__)
        candidate = np.concatenate([found[index] for index in range(len(images))])
        parity = compare(_torch_logits(source, head, contract, images), candidate)
        require(parity)
        return {"parity": parity.to_dict()}

    with context.observer.stage("export and compare with torch"):
        facts = context.store.get("parity", parts, make).facts["parity"]
    return Parity(**{**facts, "top1_agreement": Quantity.from_dict(facts["top1_agreement"])})


def _torch_logits(source: Backbone, head: Head, contract: Contract, images: UInt8) -> Float32:
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
