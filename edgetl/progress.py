"""How stages tell what they are doing, without knowing who listens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

Advance = Callable[[int, int], None]
"""Told (done, total)."""


class Observer(Protocol):
    """Listens to a run."""

    def stage(self, title: str) -> contextlib.AbstractContextManager[Advance]:
        """A stage begins; it ends with the block."""

    def note(self, text: str) -> None:
        """Something the user should know."""


class Silent:
    """An observer for use as a library."""

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        del title
        yield lambda done, total: None

    def note(self, text: str) -> None:
        del text
