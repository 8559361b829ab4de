"""Addresses: what is one, and that none can be taken for an option of ssh."""

from __future__ import annotations

import pytest

from edgetl.errors import InputError
from edgetl.remote.address import Address, parse_address
from edgetl.remote.ssh import Route


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ssh://orin", Address("orin")),
        ("ssh://Orin", Address("Orin")),
        ("ssh://pi@rpi5.local", Address("rpi5.local", "pi")),
        ("ssh://root@127.0.0.1:2222", Address("127.0.0.1", "root", 2222)),
        ("ssh://root@[fe80::1%eth0]:22", Address("fe80::1%eth0", "root", 22)),
        ("ssh://nuc/", Address("nuc")),
    ],
)
def test_addresses_have_parts(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "orin",
            "ssh://",
            "ssh://@host",
            "http://host",
            "ssh://host:x",
            "ssh://host:0",
            "ssh://host:99999",
        ),
        *("ssh://-oProxyCommand=id", "ssh://-l@host", "ssh://a b", "ssh://host/path", "ssh://host?x=1"),
        *("ssh://user;id@host", "ssh://host\n", "ssh://$(id)", "ssh://`id`@host", "ssh://[::1"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no address of a device"):
        parse_address(text)


def test_passwords_are_left_to_openssh() -> None:
    with pytest.raises(InputError, match="ssh-agent") as caught:
        parse_address("ssh://pi:raspberry@host")
    assert "raspberry" not in str(caught.value)


@pytest.mark.parametrize("python", ["", "python3 -c x", "$(id)", "a;b", "-c", "p'y", "a\nb"])
def test_a_python_is_a_name_and_nothing_else(python: str) -> None:
    with pytest.raises(InputError, match="no name of a Python"):
        Route(Address("orin"), python)


def test_the_command_holds_no_shell_words_of_the_user() -> None:
    command = Route(Address("orin", "pi", 2222), "/opt/venv/bin/python3").command()
    assert command[-6:-1] == ["-l", "pi", "-p", "2222", "--"] or command[-7:-1] == [
        *("-l", "pi", "-p", "2222", "--", "orin")
    ]
    assert command[-1].startswith("exec /opt/venv/bin/python3 -I -c 'import sys; ")
    assert "StrictHostKeyChecking=yes" in command and "BatchMode=yes" in command
