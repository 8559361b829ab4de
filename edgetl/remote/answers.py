"""What a device says, which is believed only as far as it has the right form, and shown only as one line."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from edgetl.data.dataset import printable
from edgetl.errors import BundleError, EdgetlError

T = TypeVar("T")

_LONGEST = 500
_ODD = (ArithmeticError, AttributeError, BundleError, LookupError, RecursionError, TypeError, ValueError)


class DeviceError(EdgetlError):
    """A device could not do what it was asked."""


class Answer(dict[str, Any]):
    """A JSON object of a device's; control characters in its text are escaped.

    Args:
        device: whose it is, for messages.
    """

    def __init__(self, fields: Mapping[str, Any], device: object) -> None:
        super().__init__(fields)
        self._device = device

    def take(self, name: str, kind: type[T]) -> T:
        """A field of one kind.

        Raises:
            DeviceError: if it is none.
        """
        value = self.get(name)
        if not isinstance(value, kind):
            raise DeviceError(f"{self._device} answered without a fit {name!r}: {brief(value)}")
        return value

    def count(self, name: str) -> int:
        """A number that is not negative.

        Raises:
            DeviceError: if it is none.
        """
        value = self.take(name, int)
        if value < 0:
            raise DeviceError(f"{self._device} answered without a fit {name!r}: {brief(value)}")
        return value

    def inside(self, name: str, value: Any) -> Answer:
        """What one of the fields holds, an object too."""
        return Answer(Answer({name: value}, self._device).take(name, dict), self._device)


def parse(line: bytes, device: object) -> Answer:
    """A line that a device wrote.

    Raises:
        ValueError: if it is no JSON object, or one that is nested too deeply.
    """
    try:
        found = _escaped(json.loads(line))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("no object")
    return Answer(found, device)


def brief(said: object) -> str:
    """One line of limited length that a terminal can be given."""
    text = printable(str(said)[:_LONGEST])
    return text if len(text) < _LONGEST else f"{text[:_LONGEST]}…"


@contextlib.contextmanager
def reading(device: object) -> Iterator[None]:
    """What a device sent is used in the block: where that fails by its form, it is the device's error.

    Raises:
        DeviceError: caused by what was raised.
    """
    try:
        yield
    except _ODD as error:
        why = f"{type(error).__name__}: {brief(error)}"
        raise DeviceError(f"{device} sent results that can't be read: {why}") from error


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else printable(value)
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {_escaped(name): _escaped(item) for name, item in value.items()}
    return value
