"""What runs the QNN provider: alone in a process of its own, for it may crash, hang or print.

It imports nothing of edgetl's but its neighbour, so that it runs wherever onnxruntime-qnn is installed.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PROVIDER = "QNNExecutionProvider"
BATCH = "N"
_ERRORS, _VERBOSE = 3, 0
_WEIGHT_QUANTIZER = "WeightBiasQuantization"

_open: dict[str, Any] = {}


@functools.cache
def _devices() -> list[Any]:
    """The provider's devices, an NPU first; registers its library.

    The name must be the provider's own: under another one, onnxruntime finds none for a compiled context.
    """
    import onnxruntime
    import onnxruntime_qnn  # type: ignore[import-untyped,unused-ignore]

    onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    found = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    if not found:
        raise RuntimeError("onnxruntime-qnn is installed, but its provider finds no device")
    return sorted(found, key=lambda device: "NPU" not in str(device.device.type))[:1]


def open_session(
    model: str | bytes,
    provider: Mapping[str, str],
    entries: Mapping[str, str],
    *,
    batch: int | None = None,
    verbose: bool = False,
) -> Any:
    """An ``InferenceSession`` on the HTP and nowhere else.

    Args:
        model: path, or content.
        provider: options of the QNN provider.
        entries: of the session's configuration.
        batch: size of the free batch dimension.
    """
    import onnxruntime
    import onnxruntime_qnn  # type: ignore[import-untyped,unused-ignore]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _VERBOSE if verbose else _ERRORS
    for name, value in {"session.disable_cpu_ep_fallback": "1", **entries}.items():
        options.add_session_config_entry(name, value)
    if batch is not None:
        options.add_free_dimension_override_by_name(BATCH, batch)
    # quantizing the graph's inputs and outputs is left to the CPU unless told otherwise
    mine = {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "offload_graph_io_quantization": "0"}
    options.add_provider_for_devices(_devices(), {**mine, **provider})
    # onnxruntime would quantize the weights of a node that was left in float between quantized ones
    return onnxruntime.InferenceSession(model, options, disabled_optimizers=[_WEIGHT_QUANTIZER])


def build(model: str, context: str, notes: str, provider: dict[str, str], batch: int) -> dict[str, Any]:
    """Compile a model: the context goes to ``context``, its binary beside it, reports into ``notes``."""
    reports = {
        "enable_framework_op_trace": "1",
        "framework_op_trace_dir": notes,
        "dump_json_qnn_graph": "1",
        "json_qnn_graph_dir": notes,
    }
    entries = {
        "ep.context_enable": "1",
        "ep.context_embed_mode": "0",
        "ep.context_file_path": context,
    }
    # a graph that comes without a path is named by its content: the same model gives the same bytes
    open_session(Path(model).read_bytes(), {**provider, **reports}, entries, batch=batch)
    return {}


def refused(model: str, provider: dict[str, str], batch: int) -> dict[str, Any]:
    """Have the provider look at every node of a model, verbosely; what it says goes to standard error."""
    try:
        open_session(model, provider, {}, batch=batch, verbose=True)
    except Exception as error:  # what is refused stands in the log, whatever comes of it
        return {"error": str(error)}
    return {"error": None}


def load(engine: str, provider: dict[str, str]) -> dict[str, Any]:
    """Open a compiled context; tells its input and output."""
    session = open_session(engine, provider, {})
    _open["session"] = session
    return describe(session)


def describe(session: Any) -> dict[str, Any]:
    image, logits = session.get_inputs()[0], session.get_outputs()[0]
    return {"input": image.name, "shape": list(image.shape), "type": image.type, "output": logits.name}


def run(images: str, out: str) -> dict[str, Any]:
    """Run one batch that lies in a ``.npy`` file; the outputs go into another."""
    session = _open["session"]
    batch = np.load(images)
    np.save(out, session.run(None, {session.get_inputs()[0].name: batch})[0])
    return {}


def metadata(engine: str) -> dict[str, Any]:
    """What a compiled context says of itself; see ``blob.py``."""
    import onnxruntime_qnn  # type: ignore[import-untyped,unused-ignore]

    read_blob = importlib.import_module("blob").read_blob  # the child's path begins with this folder
    library = Path(onnxruntime_qnn.LIB_DIR_FULL_PATH) / "libQnnSystem.so"
    found: dict[str, Any] = read_blob(library, Path(engine).read_bytes())
    return found


HANDLERS = {"build": build, "refused": refused, "load": load, "run": run, "metadata": metadata}
