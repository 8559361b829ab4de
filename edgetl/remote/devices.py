"""The devices a user has named: ``devices.toml`` in the configuration folder."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from edgetl.errors import InputError
from edgetl.files import write_atomic
from edgetl.remote.address import is_address, parse_address
from edgetl.remote.ssh import Route

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:\[\]%-]*")
_PYTHON = "python3"


@dataclass(frozen=True)
class Device:
    """A device with the name it has in results.

    Raises:
        InputError: if it can't be called so.
    """

    name: str
    route: Route

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} is no name for a device; use letters, digits, dots and dashes")


def devices_file() -> Path:
    """``edgetl/devices.toml`` below ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "edgetl" / "devices.toml"


def devices() -> dict[str, Device]:
    """All named devices.

    Raises:
        InputError: if the file is wrong.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    path = devices_file()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: {error}") from error
    found = {}
    for name, entry in table.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("address"), str):
            raise InputError(f"{path}: [{name}] needs an address")
        try:
            found[name] = Device(name, route_to(entry["address"], str(entry.get("python", _PYTHON))))
        except InputError as error:
            raise InputError(f"{path}: [{name}]: {error}") from error
    return found


def device(name: str) -> Device:
    """The device of this name, or at this address.

    Raises:
        InputError: if there is none.
    """
    if is_address(name):
        route = route_to(name)
        return Device(str(route.address).removeprefix("ssh://"), route)
    known = devices()
    if name not in known:
        have = f"known: {', '.join(sorted(known))}" if known else "none is known yet"
        raise InputError(
            f"no device is called {name!r} ({have}); add it with: edgetl device add {name} ssh://user@host"
        )
    return known[name]


def add_device(added: Device) -> None:
    """Keep a device's name, or change what is known of it."""
    _write({**devices(), added.name: added})


def remove_device(name: str) -> None:
    """Forget a device.

    Raises:
        InputError: if there is none of this name.
    """
    known = devices()
    if name not in known:
        raise InputError(f"no device is called {name!r}")
    _write({other: entry for other, entry in known.items() if other != name})


def route_to(address: str, python: str = _PYTHON) -> Route:
    """The way to an address."""
    return Route(parse_address(address), python)


def _write(known: dict[str, Device]) -> None:
    lines = []
    for name in sorted(known):
        route = known[name].route
        lines += [f"[{json.dumps(name)}]", f"address = {json.dumps(str(route.address))}"]
        lines += [f"python = {json.dumps(route.python)}", ""]
    write_atomic(devices_file(), "\n".join(lines))
