"""What runs on the device: one job, its progress in a journal, its result in a file. Started by the agent."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from edgetl.backends import backend_names, get_backend
from edgetl.context import Context
from edgetl.data import Sample
from edgetl.device.lock import measuring_alone
from edgetl.errors import EdgetlError, MissingDependencyError
from edgetl.files import write_atomic
from edgetl.findings import Task, Wanted, find
from edgetl.measurement.probe import ProbeNetwork, probe_with
from edgetl.progress import Advance
from edgetl.rebuilding import rebuild_bundle
from edgetl.store import Store
from edgetl.versions import version_of

LOGITS = "logits.npy"
REBUILT = "bundle"
_ADVANCE_SECONDS = 0.5
_LEAST = {"numpy": (1, 26), "pillow": (10, 1)}

Job: TypeAlias = Callable[[Context, Path, Mapping[str, Any]], dict[str, Any]]


class Journal:
    """An observer that writes what it hears, a JSON line each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        last = 0.0

        def advance(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _ADVANCE_SECONDS:
                last = time.monotonic()
                self._write({"advance": [done, total]})

        self._write({"stage": title})
        yield advance
        self._write({"end": title})

    def note(self, text: str) -> None:
        self._write({"note": text})

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def main() -> None:
    """``python WORKER JOB``: run the request in the job's folder."""
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_bytes())
    result = _answer(folder, request)
    write_atomic(folder / "result.json", json.dumps(result))


def too_old(installed: Callable[[str], str | None] = version_of) -> str | None:
    """A package that is older than edgetl needs; None if all will do."""
    for package, least in _LEAST.items():
        found = installed(package)
        numbers = [int(part) for part in (found or "").split(".")[: len(least)] if part.isdigit()]
        if found and tuple(numbers) < least:
            return f"{package} {found}, which is older than {'.'.join(map(str, least))}"
    return None


def _answer(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    if old := too_old():
        return {
            "failed": f"its Python has {old}; update it there, or let edgetl do it: edgetl bench … --install"
        }
    try:
        context = Context(Store(folder.parent.parent / "store"), Journal(folder / "journal.jsonl"))
        return _JOBS[request["verb"]](context, folder / "out", request)
    except MissingDependencyError as error:
        return {"failed": f"No module named '{error.package}'"}
    except EdgetlError as error:
        return {"failed": str(error)}
    except Exception as error:  # the host shows it; the traceback is in the job's output
        import traceback

        traceback.print_exc()
        return {"failed": f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"}


def _facts(context: Context, out: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The machine, and the engines that can run on it."""
    found = {name: get_backend(name).available() for name in backend_names()}
    return {
        "environment": dict(context.environment),
        "backends": {
            name: {"ok": each.ok, "versions": dict(each.versions), "devices": list(each.devices)}
            for name, each in found.items()
        },
    }


def _bench(context: Context, out: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    blobs = Path(request["blobs"])
    samples = [Sample(str(blobs / digest), int(label), digest) for digest, label in request["samples"]]
    target = SimpleNamespace(**request["target"]) if request["target"] else None
    against = Path(request["against"]) if request["against"] else None
    wanted = Wanted(**request["wanted"])
    task = Task(Path(request["bundle"]), samples, wanted, target, against)  # type: ignore[arg-type]
    findings = find(context, task)
    if findings.predictions:
        np.save(out / LOGITS, findings.predictions.logits)
    return findings.to_dict()


def _rebuild(context: Context, out: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    return rebuild_bundle(context, Path(request["bundle"]), out / REBUILT)


def _probe(context: Context, out: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    folder, told = Path(request["folder"]), request["network"]
    network = ProbeNetwork(folder / told["int8"], folder / told["floating"], told["macs"], told["side"])
    with measuring_alone(context.observer.note), context.observer.stage("probe"):
        probed = probe_with(network, *request["spec"])
    return {"machine": context.pace, "probed": probed.to_dict()}


_JOBS: dict[str, Job] = {"facts": _facts, "bench": _bench, "rebuild": _rebuild, "probe": _probe}
