"""OpenVINO's own ``benchmark_app``, told what a session is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import openvino

from edgetl.backends.base import EngineSpec, VendorTool
from edgetl.backends.openvino.devices import ALLOW

_FLOATS = ("f32", "bf16", "f16")
_APP = "from openvino.tools.benchmark.main import main; main()"
# what no flag says it reads from a file, which must be there while it runs
_WITH_OPTIONS = (
    "import sys, tempfile; from openvino.tools.benchmark.main import main; "
    "file = tempfile.NamedTemporaryFile('w', suffix='.json'); file.write(sys.argv.pop()); file.flush(); "
    "sys.argv += ['-load_config', file.name]; main()"
)


def benchmark_app(engine: Path, spec: EngineSpec, seconds: float) -> VendorTool:
    """One synchronous inference at a time, the input filled once; its times are OpenVINO's, without Python.

    It refuses a number of threads beside a hint, so that with ``spec.threads`` one stream stands for the
    latency hint.
    """
    options = {name: value for name, value in spec.options.items() if name != ALLOW}
    words = ["-m", str(engine), "-d", spec.device, "-api", "sync", "-t", str(max(1, round(seconds)))]
    words += ["-hint", "latency"] if not spec.threads else ["-hint", "none", "-nstreams", "1"]
    words += ["-nthreads", str(spec.threads)] if spec.threads else []
    if engine.suffix != ".blob" and spec.float_precision in _FLOATS and _takes_precision(spec.device):
        words += ["-infer_precision", spec.float_precision]
    program = _WITH_OPTIONS if options else _APP
    words += [json.dumps({spec.device: options})] if options else []
    return VendorTool(
        "benchmark_app",
        (sys.executable, "-c", program, *words),
        r"Median:\s+([\d.]+) (ms|us)",
        str(openvino.__version__),
    )


def _takes_precision(device: str) -> bool:
    return "INFERENCE_PRECISION_HINT" in openvino.Core().get_property(device, "SUPPORTED_PROPERTIES")
