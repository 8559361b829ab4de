"""``trtexec``, TensorRT's own tool, told what a session is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from edgetl.backends.base import EngineSpec, VendorTool
from edgetl.backends.tensorrt.key import BUILD
from edgetl.backends.tensorrt.settings import device_index, run_options

_JETPACK = "/usr/src/tensorrt/bin"
_WARM_UP_MS = 500


def trtexec(engine: Path, spec: EngineSpec, seconds: float, version: str | None) -> VendorTool | None:
    """One inference at a time with its transfers, timed by events on the GPU: submitting it is not counted.

    None where it is neither on the path nor where JetPack puts it.
    """
    program = shutil.which("trtexec") or shutil.which("trtexec", path=_JETPACK)
    if program is None:
        return None
    words = [f"--loadEngine={engine}", f"--device={device_index(spec.device)}", "--exposeDMA"]
    words += [f"--warmUp={_WARM_UP_MS}", f"--duration={max(1, round(seconds))}"]
    use_graph, _ = run_options(spec.options)
    words += ["--useCudaGraph"] if use_graph else []
    recorded = engine.parent / BUILD
    build = json.loads(recorded.read_text()) if recorded.is_file() else {}
    core = build.get("settings", {}).get("dla_core")
    words += [f"--useDLACore={core}"] if core is not None else []
    # the same words stand in the lines of the transfers: "H2D Latency: min = …"
    return VendorTool("trtexec", (program, *words), r"\] Latency: .*?median = ([\d.]+) ms", version)
