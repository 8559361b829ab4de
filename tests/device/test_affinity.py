from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from edgetl.device.affinity import facts, pinned, usable_cpus
from edgetl.errors import InputError

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system holds no process to processors"
)
several = pytest.mark.skipif(len(usable_cpus() or ()) < 2, reason="there is one processor to run on")


class Thread:
    """A thread that answers questions until it is closed."""

    def __init__(self) -> None:
        self._asked, self._answered = threading.Event(), threading.Event()
        self._question: Callable[[], object] | None = None
        self._answer: object = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._question is None:
                return
            self._answer = self._question()
            self._answered.set()

    def ask(self, question: Callable[[], object]) -> object:
        self._question = question
        self._answered.clear()
        self._asked.set()
        assert self._answered.wait(10)
        return self._answer

    def close(self) -> None:
        self._question = None
        self._asked.set()
        self._thread.join(10)


@several
def test_all_threads_are_held_and_let_go() -> None:
    before = usable_cpus()
    assert before is not None
    first, last = before[0], before[-1]
    elder, bound = Thread(), Thread()
    threads = [elder, bound]
    try:
        bound.ask(lambda: os.sched_setaffinity(0, {last}))
        with pinned([first]):
            younger = Thread()
            threads.append(younger)
            assert [usable_cpus(), *(thread.ask(usable_cpus) for thread in threads)] == [[first]] * 4
            assert facts()["pinned"] is True
        assert [usable_cpus(), elder.ask(usable_cpus), younger.ask(usable_cpus)] == [before] * 3
        assert bound.ask(usable_cpus) == [last]
        assert facts()["pinned_threads"] == 1
    finally:
        for thread in threads:
            thread.close()


@several
def test_it_is_undone_after_an_error() -> None:
    before = usable_cpus()
    assert before is not None
    with pytest.raises(KeyError), pinned(before[:1]):
        raise KeyError
    assert usable_cpus() == before


@several
def test_children_inherit_it() -> None:
    before = usable_cpus()
    assert before is not None
    with pinned(before[-1:]):
        program = "import os; print(sorted(os.sched_getaffinity(0)))"
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == before[-1:]


def test_processors_that_are_not_there_are_refused() -> None:
    before = usable_cpus()
    for cpus in ([], [9999], [*(before or ()), 9999]):
        with pytest.raises(InputError, match="this process may use"), pinned(cpus):
            pass
    assert usable_cpus() == before


def test_facts_are_json_and_tell_unknown_from_none() -> None:
    found = json.loads(json.dumps(facts(asked=2, told=2)))
    assert found["cpus"] == usable_cpus()
    assert found["logical"] == os.cpu_count()
    assert found["threads"] == found["runtime_threads"] == 2
    assert facts()["threads"] is None
    assert facts()["runtime_threads"] is None
