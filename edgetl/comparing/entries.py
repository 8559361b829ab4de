"""Engines of two documents, matched; what a document says, read strictly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from edgetl.errors import InputError
from edgetl.quantity import Kind, Quantity


@dataclass(frozen=True)
class Entry:
    """One engine of one document.

    Attributes:
        facts: its part of ``engines``.
        document: the whole.
    """

    facts: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str | None]:
        """What engines of two documents are matched by: the target's name, the device's."""
        return self.facts["target"], section(self.facts, "device").get("name")

    @property
    def name(self) -> str:
        target, device = self.key
        return f"{target} on {device}" if device else target

    @property
    def environment(self) -> Mapping[str, Any]:
        """Of the machine that the engine was measured on."""
        return section(self.facts, "device", "environment") or section(self.document, "environment")

    def quantity(self, *path: str) -> Quantity | None:
        """The figure at ``path`` of the engine's facts; None if there is none."""
        return quantity_at(self.facts, *path)


def matched(
    base: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[list[tuple[Entry, Entry | None]], list[Entry]]:
    """Each engine of ``base`` with its counterpart in ``new``, and those that only ``new`` has.

    Raises:
        InputError: if a document is not one, or has two engines of one target and device, or BASE has none.
    """
    before, after = _entries(base, "BASE"), _entries(new, "NEW")
    if not before:
        raise InputError("BASE has no engine: there is nothing to compare with")
    pairs = [(entry, after.get(key)) for key, entry in before.items()]
    return pairs, [entry for key, entry in after.items() if key not in before]


def _entries(document: Mapping[str, Any], which: str) -> dict[tuple[str, str | None], Entry]:
    found: dict[tuple[str, str | None], Entry] = {}
    engines = document.get("engines")
    if not isinstance(engines, list):
        raise InputError(f"{which} is not a results document: it has no list of engines")
    for facts in engines:
        if not isinstance(facts, Mapping) or not isinstance(facts.get("target"), str):
            raise InputError(f"{which} is not a results document: an engine in it has no target")
        entry = Entry(facts, document)
        if entry.key in found:
            raise InputError(f"{which} has two engines called {entry.name}; which one is meant?")
        found[entry.key] = entry
    return found


def section(facts: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The object at ``path``; an empty one where it is absent or null."""
    for name in path:
        value = facts.get(name)
        facts = value if isinstance(value, Mapping) else {}
    return facts


def items(facts: Mapping[str, Any], name: str) -> list[Any]:
    """The list called ``name``; an empty one where there is none."""
    value = facts.get(name)
    return value if isinstance(value, list) else []


def quantity_at(facts: Mapping[str, Any], *path: str) -> Quantity | None:
    """The figure at ``path``; None where it is absent or null.

    Raises:
        InputError: if something else stands there.
    """
    value = _at(facts, path)
    if value is None:
        return None
    if not isinstance(value, Mapping) or value.get("kind") not in get_args(Kind):
        raise _wrong(path, "a quantity")
    figure, low, high, n = (number_at(value, name) for name in ("value", "low", "high", "n"))
    if figure is None or n is None:
        raise _wrong(path, "a quantity")
    return Quantity(figure, low, high, int(n), value["kind"])


def number_at(facts: Mapping[str, Any], *path: str) -> float | None:
    """The finite number at ``path``, as :func:`quantity_at`."""
    value = _at(facts, path)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(path, "a number")
    return value


def text_at(facts: Mapping[str, Any], *path: str) -> str | None:
    """The text at ``path``, as :func:`quantity_at`."""
    value = _at(facts, path)
    if value is not None and not isinstance(value, str):
        raise _wrong(path, "text")
    return value


def _at(facts: Mapping[str, Any], path: Sequence[str]) -> Any:
    return section(facts, *path[:-1]).get(path[-1])


def _wrong(path: Sequence[str], wanted: str) -> InputError:
    return InputError(f"not a results document: {'.'.join(path)} is not {wanted} (see edgetl schema)")
