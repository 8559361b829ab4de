"""TensorRT reports failures to its logger only: the messages are kept so that they can become errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_ERRORS = ("ERROR", "INTERNAL_ERROR")


@dataclass
class Messages:
    """What TensorRT said meanwhile, in order: (severity, text)."""

    entries: list[tuple[str, str]] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        return [text for severity, text in self.entries if severity in _ERRORS]

    @property
    def warnings(self) -> list[str]:
        return [text for severity, text in self.entries if severity == "WARNING"]

    def starting_with(self, prefix: str) -> str | None:
        """The last message that begins so."""
        return next((text for _, text in reversed(self.entries) if text.startswith(prefix)), None)


class Recorder:
    """Collects messages while somebody listens.

    TensorRT keeps the first logger it is given for the life of the process, so there is one for each
    of its modules and every listener gets what is said while it listens.
    """

    def __init__(self) -> None:
        self._listeners: list[Messages] = []

    def record(self, severity: str, text: str) -> None:
        for listener in self._listeners:
            listener.entries.append((severity, text))

    @contextlib.contextmanager
    def listen(self) -> Iterator[Messages]:
        messages = Messages()
        self._listeners.append(messages)
        try:
            yield messages
        finally:
            self._listeners.remove(messages)


def make_logger(trt: Any, recorder: Recorder) -> Any:
    """An ``ILogger`` of the module ``trt`` that writes to ``recorder``."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            recorder.record(str(severity).rpartition(".")[2], text)

    return Logger()
