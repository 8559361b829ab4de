"""Run as a script with a module's name: prints what the module and each of its classes offers, as JSON."""

from __future__ import annotations

import json
import sys
from importlib import import_module


def surface(name: str) -> dict[str, list[str]]:
    """Attribute names by class name; the module's own under an empty name. Enum members are attributes."""
    module = import_module(name)
    classes = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    return {"": dir(module), **{key: dir(value) for key, value in classes.items()}}


if __name__ == "__main__":
    print(json.dumps(surface(sys.argv[1])))
