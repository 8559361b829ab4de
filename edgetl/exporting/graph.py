"""The last steps every exported graph goes through: strip the exporter's notes, simplify, check, save."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgetl.contract import Contract
from edgetl.contract.onnx_prefix import set_metadata
from edgetl.errors import EdgetlError, InputError

MAX_BYTES = 2_000_000_000


def finish(model: onnx.ModelProto, out: Path) -> dict[str, Any]:
    """Simplify, check and save a model; the same model gives the same bytes.

    Returns:
        Facts: opset, number of nodes, size of the output's last dimension (0 if dynamic).

    Raises:
        EdgetlError: if the result is no valid ONNX.
    """
    import onnxslim

    strip_notes(model)
    with contextlib.redirect_stdout(io.StringIO()):
        simplified = onnxslim.slim(model)
    save(simplified, out)
    last = simplified.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    return {"opset": opset(simplified), "nodes": len(simplified.graph.node), "outputs": last}


def save(model: onnx.ModelProto, out: Path) -> None:
    """Check and write a model.

    Raises:
        EdgetlError: if it is no valid ONNX.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EdgetlError(f"the exported graph is not valid ONNX: {str(error).splitlines()[0]}") from error
    out.write_bytes(model.SerializeToString(deterministic=True))


def read(path: Path) -> onnx.ModelProto:
    """Load an ONNX file and check what may come from a stranger.

    Raises:
        InputError: if the file is missing, not ONNX, has weights outside its folder, an unsupported opset,
            or NaN weights.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is larger than 2 GB")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        if not model.graph.node or not model.graph.output:
            raise InputError(f"{path} is not an ONNX model, or an empty one")
        _load_external(model, path)
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise InputError(f"{path} is not valid ONNX: {str(error).splitlines()[0]}") from error
    except InputError:
        raise
    except Exception as error:  # protobuf's decode error has moved between its versions
        raise InputError(f"{path} is not an ONNX model: {str(error).splitlines()[0]}") from error
    if not 13 <= opset(model) <= onnx.defs.onnx_opset_version():
        newest = onnx.defs.onnx_opset_version()
        raise InputError(f"{path} has opset {opset(model)}; edgetl takes 13 to {newest}: re-export it")
    _refuse_nan(model, path)
    return model


def external_files(model: onnx.ModelProto) -> set[str]:
    """Names of the files a model keeps weights in, apart from its own."""
    return {
        entry.value
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    """Bring weights that lie in files beside the model into it; torch's exporter puts them there."""
    names = external_files(model)
    for name in names:
        beside = path.parent / name
        if Path(name).name != name or beside.is_symlink() or not beside.is_file():
            raise InputError(f"{path} keeps weights in {name!r}, which is no file beside it")
        if beside.stat().st_size > MAX_BYTES:
            raise InputError(f"{beside} is larger than 2 GB")
    if names:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))


def _refuse_nan(model: onnx.ModelProto, path: Path) -> None:
    for tensor in model.graph.initializer:
        if (
            tensor.data_type == onnx.TensorProto.FLOAT
            and not np.isfinite(numpy_helper.to_array(tensor)).all()
        ):
            raise InputError(f"{path}: weights {tensor.name!r} hold NaN or infinity")


def opset(model: onnx.ModelProto) -> int:
    """Version of the default operator set; 0 if the model imports none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def with_metadata(path: Path, contract: Contract, labels: Sequence[str], trained_on: Iterable[str]) -> bytes:
    """A model file's bytes with contract, labels and training images in its metadata."""
    model = read(path)
    set_metadata(model, contract, labels, trained_on)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def strip_notes(model: onnx.ModelProto) -> None:
    """Remove the exporter's stack traces and paths: they vary, and tell about the machine."""
    graph = model.graph
    for item in [*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        del item.metadata_props[:]
        item.doc_string = ""
    model.doc_string = ""
    model.producer_name, model.producer_version = "edgetl", ""
