"""Boards reached with ssh: this machine under another home, and an emulated aarch64 one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgetl.bundle.write import Content, write_bundle
from tests.boards import arm64, sshd
from tests.boards.python import board_path
from tests.boards.sshd import Sshd


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
def bundle(tmp_path_factory: pytest.TempPathFactory, contents: Callable[[str], Content]) -> Path:
    """The tiny network for onnxruntime, which every board has; trained on no image of the tests."""
    content = contents("onnxruntime")
    golden = {"golden_input": content.golden_input[:2], "golden_output": content.golden_output[:2]}
    return write_bundle(replace(content, **golden), tmp_path_factory.mktemp("bundles") / "tiny")
