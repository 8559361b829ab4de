"""What onnxruntime's users time it with: ``InferenceSession.run`` in a loop, with a session's options."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnxruntime

from edgetl.backends.base import EngineSpec, VendorTool
from edgetl.backends.onnxruntime import CPU
from edgetl.backends.onnxruntime.session import KEPT_FLOAT, NO_CPU, REQUANTIZER, SESSION

_LOOP = """
import json, statistics, sys, time
import numpy, onnxruntime
job = json.loads(sys.argv[1])
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
options.intra_op_num_threads = job["threads"]
for name, value in job["entries"].items():
    options.add_session_config_entry(name, value)
provider = [tuple(job["provider"])]
session = onnxruntime.InferenceSession(job["model"], options, providers=provider)
if job["kept_float"] in session.get_modelmeta().custom_metadata_map:
    session = onnxruntime.InferenceSession(
        job["model"], options, providers=provider, disabled_optimizers=job["disabled"]
    )
if session.get_providers()[0] != provider[0][0]:
    sys.exit("onnxruntime fell back to " + session.get_providers()[0])
feed = session.get_inputs()[0]
shape = [size if isinstance(size, int) else 1 for size in feed.shape]
image = {feed.name: numpy.random.default_rng(0).integers(0, 256, shape, numpy.uint8)}
for seconds in (0.5, job["seconds"]):
    times = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        session.run(None, image)
        times.append(time.perf_counter() - start)
print("Median:", statistics.median(times) * 1e3, "ms of", len(times))
"""


def plain_loop(engine: Path, spec: EngineSpec, seconds: float) -> VendorTool:
    """The loop in a program that imports nothing of edgetl: half a second to warm up, then ``seconds``."""
    entries = {name: _text(value) for name, value in spec.options.items() if name.startswith(SESSION)}
    if spec.device != CPU:
        entries = {NO_CPU: "1", **entries}
    job = {
        "model": str(engine),
        "threads": spec.threads,
        "entries": entries,
        "provider": [
            spec.device,
            {name: value for name, value in spec.options.items() if not name.startswith(SESSION)},
        ],
        "kept_float": KEPT_FLOAT,
        "disabled": [REQUANTIZER],
        "seconds": seconds,
    }
    command = (sys.executable, "-c", _LOOP, json.dumps(job))
    return VendorTool("onnxruntime loop", command, r"Median: ([\d.e-]+) ms", str(onnxruntime.__version__))


def _text(value: str | int | float | bool) -> str:
    return str(int(value) if isinstance(value, bool) else value)
