"""Whether remote runs survive lost connections: a real sshd on loopback, cut once in each at random."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.goal import Goal
from benchmarks.settings import Settings
from benchmarks.small_bundle import make_bundle
from edgetl.conformance.network import CLASSES, pictures
from edgetl.context import Context
from edgetl.data import load_dataset
from edgetl.elsewhere import visit
from edgetl.errors import EdgetlError
from edgetl.findings import Findings, Task, Wanted
from edgetl.remote.agent import FOLDER
from edgetl.remote.devices import Device, route_to
from edgetl.store import Store

AREA = "device"
_CUTS = 100
_WANTED = Wanted(brief=True, seconds=0.05)


def goals(settings: Settings) -> Iterator[Goal]:
    from tests.boards import sshd
    from tests.boards.python import board_path

    count = 5 if settings.quick else _CUTS
    against = f"{count} runs of bench --on over a real sshd, the connection cut once in each at random"
    if reason := sshd.skip_reason():
        yield Goal(
            AREA, "remote runs that are right in spite of a cut", None, "", against, ">=", 1.0, note=reason
        )
        return
    bundle = make_bundle("onnxruntime", settings.folder("cut-made"), settings.work / "cut-bundle")
    images = _images(settings.folder("cut-images"))
    programs = board_path(settings.work / "board")
    with sshd.Sshd(environment={"PATH": programs}) as board:
        os.environ["EDGETL_SSH"] = str(board.wrapper)
        trial = _Trial(settings, board, bundle, images)
        trial.run(None)
        seconds, expected = trial.run(None)  # as long as the others, which find the files there
        right, cut, left = 0, 0, 0
        for number in range(count):
            if number % 10 == 0:
                settings.say(f"cut {number + 1} of {count}")
            moment = random.Random(number).uniform(0, seconds)
            _, found = trial.run(moment)
            right += found is not None and found == expected
            cut += trial.cut
            left += trial.left_behind()
        del os.environ["EDGETL_SSH"]
    note = f"{cut} of the cuts hit a live connection"
    yield Goal(
        AREA, "remote runs that are right in spite of a cut", right / count, "", against, ">=", 1.0, note=note
    )
    yield Goal(AREA, "files left half-written, there or here", left, "", against, "<=", 0.0)


class _Trial:
    """Runs on one board, each as a new user's: nothing is kept here or there."""

    def __init__(self, settings: Settings, board: Any, bundle: Path, images: Path) -> None:
        self._board, self._bundle, self._work = board, bundle, settings.work / "cut-stores"
        self._samples = [s for split in load_dataset(images).splits.values() for s in split]
        self._device = Device("board", route_to(board.url))
        self.cut = False

    def run(self, moment: float | None) -> tuple[float, Any]:
        """Seconds, and accuracy's logits with what the host says of them; None if it failed."""
        context = Context(Store(self._work / str(time.monotonic_ns())))
        self.cut = False
        timer = threading.Timer(moment or 0.0, self._pull)
        begin = time.monotonic()
        if moment is not None:
            timer.start()
        [found] = visit(context, Task(self._bundle, self._samples, _WANTED, None), [self._device])
        if moment is not None:
            timer.cancel()
            timer.join()
        if isinstance(found.findings, EdgetlError):
            return time.monotonic() - begin, None
        return time.monotonic() - begin, _told(found.findings, found.facts)

    def _pull(self) -> None:
        self.cut = self._board.cut() > 0

    def left_behind(self) -> int:
        """Parts of files and folders of jobs on the board."""
        there = self._board.home / FOLDER
        parts = [path for path in (there / "blobs").iterdir() if path.name.startswith(".")]
        making = [path for path in (there / "trees").iterdir() if path.name.startswith(".")]
        return len(parts) + len(making) + len(list((there / "jobs").iterdir()))


def _told(findings: Findings, facts: Any) -> Any:
    predictions = findings.predictions
    assert predictions is not None
    host = facts["host"]
    return predictions.rows, predictions.logits.tolist(), host["agreement"], host["max_abs"], host["accuracy"]


def _images(folder: Path) -> Path:
    """Sixty pictures of the conformance network's classes."""
    from PIL import Image

    for number, pixels in enumerate(pictures(range(60))):
        path = folder / CLASSES[number % len(CLASSES)] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder
