"""What was found out when an engine for another device than the CPU was made, kept beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgetl.backends.base import Placement, Proof

_FILE = "made.json"


def keep(folder: Path, note: str, **compiled: Any) -> None:
    """Write what is known of the engine in ``folder``.

    Args:
        note: what was done, or why it was not, in one sentence.
        compiled: device, share and elsewhere of its placement; none for an engine not compiled yet.
    """
    facts = {"note": note, "placement": compiled or None}
    (folder / _FILE).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def read_proof(engine: Path) -> Proof | None:
    """None for an engine of the CPU, which tells everything itself when it is loaded.

    There is no precision: the NPU's compiler reports none, and an engine not compiled yet has none.
    """
    path = engine.parent / _FILE
    if not path.is_file():
        return None
    facts = json.loads(path.read_text())
    found = facts["placement"]
    placement = Placement(found["device"], found["share"], None, tuple(found["elsewhere"])) if found else None
    return Proof(None, placement, {"findings": [facts["note"]]}, compiled=found is not None)
