"""Whose numbers a bench's are; the measuring itself is tested end to end."""

from __future__ import annotations

from edgetl.benchmark import _not_its_device
from edgetl.context import Context
from edgetl.engines import best_target, this_machine


def test_numbers_of_another_machine_are_said_to_be() -> None:
    context = Context()
    other = "arm64-cpu" if this_machine() == "x86_64" else "x86-vnni"
    said = _not_its_device(context, other)
    assert said is not None and said.startswith(f"this machine is {this_machine()}, the target is ")
    assert said.endswith(f"; these numbers are this machine's, not {other}'s")
    assert _not_its_device(context, best_target(context.environment)) is None
    assert _not_its_device(context, "a-profile-of-somebody-else") is None
