"""Names of devices, kept in the user's configuration."""

from __future__ import annotations

import pytest

from edgetl.errors import InputError
from edgetl.remote.devices import Device, add_device, device, devices, devices_file, remove_device, route_to


def test_devices_are_kept_by_name() -> None:
    assert devices() == {}
    orin = Device("orin", route_to("ssh://nvidia@orin:22", "/usr/bin/python3.10"))
    pi = Device("pi", route_to("ssh://pi@10.0.0.7"))
    add_device(pi)
    add_device(orin)
    assert devices() == {"orin": orin, "pi": pi}
    moved = Device("pi", route_to("ssh://pi@10.0.0.8"))
    add_device(moved)
    assert device("pi") == moved
    remove_device("pi")
    assert devices() == {"orin": orin}


def test_an_address_needs_no_name() -> None:
    found = device("ssh://root@127.0.0.1:2222")
    assert (found.name, str(found.route.address)) == ("root@127.0.0.1:2222", "ssh://root@127.0.0.1:2222")
    assert not devices_file().exists()


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(
        InputError, match=r"'orin' \(none is known yet\); add it with: edgetl device add orin"
    ):
        device("orin")
    add_device(Device("pi", route_to("ssh://pi")))
    with pytest.raises(InputError, match=r"known: pi"):
        device("orin")
    with pytest.raises(InputError, match="no device is called 'orin'"):
        remove_device("orin")


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "ä"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no name for a device"):
        Device(name, route_to("ssh://host"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pi", "devices.toml"),
        ("pi = 1\n", r"\[pi\] needs an address"),
        ('[pi]\naddress = "ssh://-oProxyCommand=x"\n', r"\[pi\]: .*no address"),
        ('[pi]\naddress = "ssh://pi"\npython = "a b"\n', r"\[pi\]: .*no name of a Python"),
    ],
)
def test_a_wrong_file_is_said_to_be_wrong(text: str, said: str) -> None:
    devices_file().parent.mkdir(parents=True, exist_ok=True)
    devices_file().write_text(text)
    with pytest.raises(InputError, match=said):
        devices()
