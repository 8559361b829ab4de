"""One measurement at a time on a machine, whoever starts it."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.device.lock import measuring_alone


@pytest.fixture
def private() -> Iterator[None]:
    """Files are made for their owner alone, as a device's agent has it."""
    former = os.umask(0o077)
    yield
    os.umask(former)


def test_one_measurement_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    notes: list[str] = []
    inside = threading.Event()

    def other() -> None:
        inside.wait()
        with measuring_alone(notes.append, tmp_path):
            order.append("second")

    thread = threading.Thread(target=other)
    thread.start()
    with measuring_alone(notes.append, tmp_path):
        inside.set()
        thread.join(timeout=1.0)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert notes == ["waiting: another measurement runs on this machine"]


def test_where_nothing_can_be_locked_a_note_says_so(tmp_path: Path) -> None:
    notes: list[str] = []
    with measuring_alone(notes.append, tmp_path / "not there"):
        pass
    assert len(notes) == 1 and "can't be kept out" in notes[0]


def test_the_lock_is_for_all_users(tmp_path: Path, private: None) -> None:
    with measuring_alone(lambda text: None, tmp_path):
        [lock] = tmp_path.iterdir()
        assert lock.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(handle: int, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    notes: list[str] = []
    with measuring_alone(notes.append, tmp_path):
        pass
    assert len(notes) == 1 and "can't be kept out" in notes[0] and os.strerror(number) in notes[0]
