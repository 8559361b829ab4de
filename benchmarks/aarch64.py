"""Whether an aarch64 board, emulated, computes what the host does with the same bundle."""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.bundles import bundles
from benchmarks.goal import Goal
from benchmarks.settings import CLI, Settings, python
from edgetl.data import load_dataset
from edgetl.elsewhere import visit
from edgetl.errors import EdgetlError
from edgetl.findings import Task, Wanted
from edgetl.remote.devices import Device, route_to

AREA = "device"
_IMAGES = 200
_TARGET = "arm64-cpu"


def goals(settings: Settings) -> Iterator[Goal]:
    from tests.boards import arm64, sshd

    what = f"predictions of {_TARGET} on aarch64 that are the host's"
    against = "the same bundle and images on this machine; aarch64 is emulated, nothing is timed"
    if reason := sshd.skip_reason() or arm64.skip_reason():
        yield Goal(AREA, what, None, "", against, ">=", 0.995, note=reason)
        return
    made = bundles(settings)
    out = settings.work / "arm"
    settings.say(f"edgetl run --target {_TARGET}")
    run = [*CLI, "run", str(made.images), "--target", _TARGET, "--recipe", "quick", "-o", str(out), "--json"]
    python(run, store=settings.work / "store")
    samples = load_dataset(made.images).held_out[: 20 if settings.quick else _IMAGES]
    settings.say(f"{len(samples)} images on an emulated board")
    with arm64.board() as board:
        os.environ["EDGETL_SSH"] = str(board.wrapper)
        device = Device("aarch64", route_to(board.url))
        bundle = out / "bundles" / _TARGET
        [found] = visit(settings.context, Task(bundle, samples, Wanted(brief=True), None), [device])
        del os.environ["EDGETL_SSH"]
    if isinstance(found.findings, EdgetlError):
        raise found.findings
    agreement = found.facts["host"]["agreement"]
    value, low, high = (agreement[name] for name in ("value", "low", "high"))
    yield Goal(AREA, what, value, "", against, ">=", 0.995, low, high, f"95 %, n={agreement['n']}")
