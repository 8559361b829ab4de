"""Where a device is: ``ssh://[user@]host[:port]``, in parts that are safe as arguments of a command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgetl.errors import InputError

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?")
_SCHEME = "ssh://"


@dataclass(frozen=True)
class Address:
    """A host that OpenSSH reaches: a name of its configuration, a DNS name or an IP address."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{_SCHEME}{user}{host}{f':{self.port}' if self.port else ''}"

    def arguments(self) -> list[str]:
        """What ``ssh`` is told to get there; none of it can be taken for an option."""
        user = ["-l", self.user] if self.user else []
        port = ["-p", str(self.port)] if self.port else []
        return [*user, *port, "--", self.host]


def is_address(text: str) -> bool:
    """Whether this is meant as an address, not as a device's name."""
    return "://" in text


def parse_address(text: str) -> Address:
    """``ssh://[user@]host[:port]`` in parts.

    Raises:
        InputError: if it is none.
    """
    problem = InputError(f"{text!r} is no address of a device; write ssh://user@host or ssh://user@host:port")
    if not text.startswith(_SCHEME) or text != text.strip():  # urlsplit drops line breaks
        raise problem
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise problem from error
    if parts.password is not None:
        raise InputError(f"no password belongs into {_SCHEME}… addresses: use a key and ssh-agent")
    if parts.path not in ("", "/") or parts.query or parts.fragment or port == 0:
        raise problem
    at = parts.netloc.rpartition("@")[2]  # urlsplit's hostname is in lower case, OpenSSH's aliases are not
    host = at[1:].partition("]")[0] if at.startswith("[") else at.partition(":")[0]
    if not _HOST.fullmatch(host) or (parts.username is not None and not _USER.fullmatch(parts.username)):
        raise problem
    return Address(host, parts.username, port)
