"""An engine's first bytes, of a real build and of other files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from edgetl.backends.tensorrt.header import Header, read_header


@pytest.fixture(scope="module")
def engine(rtx: Any, rtx_target: Any, qdq: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    return folder / rtx.build(qdq, rtx_target(), folder)


def test_a_real_engine_tells_its_maker_and_size(engine: Path) -> None:
    import tensorrt_rtx

    assert read_header(engine) == Header("tensorrt-rtx", tensorrt_rtx.__version__, engine.stat().st_size)


def test_a_truncated_engine_tells_the_size_it_should_have(engine: Path, tmp_path: Path) -> None:
    whole = engine.read_bytes()
    for kept in (28, 4096, len(whole) - 1):
        part = tmp_path / "part.engine"
        part.write_bytes(whole[:kept])
        header = read_header(part)
        assert header is not None and header.size == len(whole)


def test_full_tensorrt_has_its_own_magic(tmp_path: Path) -> None:
    path = tmp_path / "model.engine"
    path.write_bytes(b"ptrt" + bytes(12) + struct.pack("<Q4B", 28, 10, 16, 1, 11))
    assert read_header(path) == Header("tensorrt", "10.16.1.11", None)


@pytest.mark.parametrize("start", [b"", b"vtrt", b"vtrt" + bytes(23), b"\x08\x07" + bytes(90), b"trtv" * 20])
def test_anything_else_is_none(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(start)
    assert read_header(path) is None
