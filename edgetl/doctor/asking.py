"""Questions to toolchains that may be broken: whatever they raise becomes part of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgetl.backends import get_backend
from edgetl.backends.base import Availability
from edgetl.engines import Standing, standing

if TYPE_CHECKING:
    from edgetl.profiles import Target


def ask_backend(name: str) -> Availability:
    """What a backend says of itself; one that fails to say it is not available."""
    try:
        return get_backend(name).available()
    except Exception as error:
        return Availability(False, reason=f"{name} is installed but broken: {one_line(error)}")


def ask_standing(target: Target, facts: Mapping[str, Any]) -> Standing:
    """What results of this machine are worth for a target; nothing can be loaded where that can't be told."""
    try:
        return standing(target, facts)
    except Exception as error:
        reason = f"{target.backend} is installed but broken: {one_line(error)}"
        return Standing("simulated", False, reason, loads=False)


def ask_features(backend: str) -> str:
    """What the TensorRT module of a backend can do, in words."""
    from edgetl.backends.tensorrt.binding import load_binding

    try:
        features = load_binding(backend).features()
    except Exception as error:
        return f"can't be read: {one_line(error)}"
    yes, no = ([name for name, there in features.items() if there is wanted] for wanted in (True, False))
    return "; ".join(f"{word} to {', '.join(names)}" for word, names in (("yes", yes), ("no", no)) if names)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
