"""Boards reached with ssh: this machine under another home, and an emulated aarch64 one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends import get_backend
from edgetl.bundle.write import Content, write_bundle
from edgetl.contract import Contract
from edgetl.device.environment import environment, fingerprint
from tests.boards import arm64, sshd
from tests.boards.python import board_path
from tests.boards.sshd import Sshd

LABELS = ("blue", "green", "red")


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PATH of a board."""
    return board_path(tmp_path_factory.mktemp("board") / "python")


@pytest.fixture
def board(programs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """This machine as a board, new for each test (it starts in 0.1 s); EDGETL_SSH leads to it."""
    _skip_for(sshd.skip_reason())
    with Sshd(environment={"PATH": programs}) as running:
        monkeypatch.setenv("EDGETL_SSH", str(running.wrapper))
        yield running


@pytest.fixture
def arm64_board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """The aarch64 root; its clock is an emulator's."""
    _skip_for(sshd.skip_reason() or arm64.skip_reason())
    with arm64.board() as running:
        monkeypatch.setenv("EDGETL_SSH", str(running.wrapper))
        yield running


def _skip_for(reason: str | None) -> None:
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def bundle(
    tmp_path_factory: pytest.TempPathFactory,
    kits: Callable[[str], Any],
    contract: Contract,
    batch: np.ndarray,
) -> Path:
    """The tiny network for onnxruntime, which every board has; trained on no image of the tests."""
    kit = kits("onnxruntime")
    session = get_backend("onnxruntime").load(kit.int8_engine, kit.spec)
    content = Content(
        target=kit.target.name,
        spec=kit.spec,
        engine=kit.int8_engine.parent,
        portable=kit.int8_model,
        contract=contract,
        labels=LABELS,
        precision=session.precision().to_dict(),
        device=fingerprint(environment()),
        versions={"edgetl": "0.1.0"},
        provenance={},
        golden_input=batch[:2],
        golden_output=np.concatenate([session.run(image[None]) for image in batch[:2]]),
        measurements={},
    )
    return write_bundle(content, tmp_path_factory.mktemp("bundles") / "tiny")
