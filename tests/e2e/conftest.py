"""A small real run that the end-to-end tests share: drawn shapes, two targets, the quick recipe."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.driving import CHOSEN, QUICK, Command, Run, write_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("shapes") / "images", 40)


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def story(shapes: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Runs the story on the shapes; the first call does the work, later ones find it in the store."""

    def run(*options: object, out: Path | None = None, images: Path = shapes) -> Run:
        folder = out or tmp_path_factory.mktemp("out")
        started = time.monotonic()
        done = command("run", images, *CHOSEN, *QUICK, "-o", folder, *options)
        seconds = time.monotonic() - started
        return Run(folder, json.loads((folder / "results.json").read_text()), done, seconds)

    return run


@pytest.fixture(scope="session")
def finished(story: Callable[..., Run]) -> Run:
    return story()
