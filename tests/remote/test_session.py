"""A device over real ssh: what is sent and run there survives lost connections."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import InputError
from edgetl.progress import Silent
from edgetl.remote import session
from edgetl.remote.agent import FOLDER
from edgetl.remote.bundles import facts_of
from edgetl.remote.devices import Device, route_to
from edgetl.remote.session import MissingThereError, Remote
from edgetl.remote.ssh import Connection, DeviceError, explain
from edgetl.remote.worker import too_old
from tests.boards import netem, sshd
from tests.boards.sshd import Sshd


@pytest.fixture
def device(board: Sshd) -> Device:
    return Device("board", route_to(board.url))


@pytest.fixture
def remote(device: Device) -> Iterator[Remote]:
    with Remote(device, Silent()) as connected:
        yield connected


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_second_time_only_what_changed_is_sent(remote: Remote, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom(5000))
    files = {path.name: path for path in tmp_path.iterdir()}
    told: list[tuple[int, int]] = []
    place = Path(remote.folder(files, lambda done, total: told.append((done, total))))
    assert told[-1] == (100_000, 100_000)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        name: path.read_bytes() for name, path in files.items()
    }
    (tmp_path / "3.bin").write_bytes(b"changed")
    told.clear()
    assert Path(remote.folder(files, lambda done, total: told.append((done, total)))) != place
    assert told == [(7, 7)]


def test_sending_goes_on_after_cuts(board: Sshd, remote: Remote) -> None:
    files = {sha256(data): data for data in (os.urandom(3_000_000) for _ in range(8))}
    cuts = iter((1_000_000, 5_000_000, 9_000_000, 20_000_000))
    due = next(cuts)

    def cut(done: int, total: int) -> None:
        nonlocal due, arrived
        arrived += 1
        if 24_000_000 - total + done >= due:
            due = next(cuts, 1 << 40)
            board.cut()

    arrived = 0
    sent = remote.send(files, cut)
    assert remote.reconnected >= 3
    blobs = board.home / FOLDER / "blobs"
    assert {path.name for path in blobs.iterdir()} == set(files)
    assert all(sha256((blobs / name).read_bytes()) == name for name in files)
    assert sent >= sum(map(len, files.values()))


def test_a_job_does_not_notice_a_cut(board: Sshd, device: Device, tmp_path: Path) -> None:
    with Remote(device, Silent()) as remote:
        timer = threading.Timer(0.6, board.cut)
        timer.start()
        facts = remote.run({"verb": "facts"}, tmp_path)
        timer.join()
        assert facts["backends"]["onnxruntime"]["ok"]
    assert not list((board.home / FOLDER / "jobs").iterdir())


def test_a_hung_connection_is_given_up(board: Sshd, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetl.remote.ssh._ANSWER_SECONDS", 2.0)
    board.freeze()
    timer = threading.Timer(3.0, board.thaw)
    timer.start()
    assert remote.ask("have", client=remote.client, files={}) == {"missing": {}}
    timer.join()
    assert remote.reconnected >= 1


def test_a_device_that_stays_away_is_given_up(
    board: Sshd, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_PATIENCE_SECONDS", 1.0)
    board.stop()
    with pytest.raises(DeviceError, match=r"refuses connections; .*gave up after 1 s"):
        remote.ask("have", client=remote.client, files={})


def test_what_the_device_refuses_is_not_tried_again(remote: Remote) -> None:
    with pytest.raises(DeviceError, match="no identifier"):
        remote.ask("have", client="x", files={"f" * 64: 1})
    assert remote.reconnected == 0


def test_a_runtime_that_is_missing_is_named_with_the_cure(board: Sshd, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nexec python3 -S "$@"\n')  # no site-packages, hence no NumPy
    python.chmod(0o755)
    with Remote(Device("bare", route_to(board.url, str(python))), Silent()) as remote:
        remote.hello["executable"] = str(python)
        with pytest.raises(MissingThereError, match=r"has no numpy; install it there, .*--install"):
            _run_bare(remote, python, tmp_path)


def _run_bare(remote: Remote, python: Path, out: Path) -> None:
    own = Path(remote.hello["environment"]) / "bin"
    own.mkdir(parents=True)
    (own / "python").symlink_to(python)
    remote._own_python = True
    remote.run({"verb": "facts"}, out)


def test_what_arrived_damaged_is_sent_again(board: Sshd, remote: Remote) -> None:
    data = os.urandom(1000)
    part = board.home / FOLDER / "blobs" / f".{sha256(data)}.{remote.client}.part"
    part.write_bytes(b"not the beginning")
    remote.send({sha256(data): data})
    assert (part.parent / sha256(data)).read_bytes() == data


def test_what_never_arrives_whole_is_not_sent_for_ever(remote: Remote) -> None:
    with pytest.raises(DeviceError, match=r"don't arrive whole there: .* arrived damaged"):
        remote.send({sha256(b"other"): b"data"})


def test_many_files_are_asked_for_in_several_questions(
    board: Sshd, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = Connection.ask

    def counted(self: Connection, verb: str, **fields: Any) -> Any:
        asked.append(len(fields["files"]))
        return ask(self, verb, **fields)

    monkeypatch.setattr(session, "_ASKED", 2, raising=False)
    monkeypatch.setattr(Connection, "ask", counted)
    files = {sha256(data): data for data in (b"1", b"2", b"3", b"4", b"5")}
    remote.send(files)
    assert asked == [2, 2, 1, 2, 2, 1]
    assert {path.name for path in (board.home / FOLDER / "blobs").iterdir()} == set(files)


def test_a_job_that_dies_leaves_nothing(board: Sshd, remote: Remote) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("__main__.py", "raise SystemExit('no memory')")
    with pytest.raises(DeviceError, match="died there: no memory"):
        remote._job(held.getvalue(), {}, None)
    assert list((board.home / FOLDER / "jobs").iterdir()) == []


@pytest.fixture
def gate(board: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file without which no connection is made; one that is being made has touched ``waits`` beside it."""
    slow = tmp_path / "ssh"
    here = f"touch {tmp_path}/waits; until [ -e {tmp_path}/open ]; do sleep 0.05; done"
    slow.write_text(f'#!/bin/sh\n{here}; rm {tmp_path}/waits; exec {board.wrapper} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("EDGETL_SSH", str(slow))
    return tmp_path / "open"


@pytest.mark.parametrize("again", [False, True])
def test_it_can_be_given_up_while_it_connects(board: Sshd, device: Device, gate: Path, again: bool) -> None:
    outcome: list[Any] = []
    connected, cut = threading.Event(), threading.Event()

    def use() -> None:
        try:
            with Remote(device, Silent()) as remote:
                connected.set()
                cut.wait(60)
                outcome.append(remote.ask("have", client=remote.client, files={}))
        except DeviceError as error:
            outcome.append(error)

    thread = threading.Thread(target=use)
    if again:
        gate.touch()
    thread.start()
    if again:
        assert connected.wait(60)
        gate.unlink()
        board.cut()
        cut.set()
    while not gate.with_name("waits").exists():
        time.sleep(0.01)
    session.cancel_all()
    cut.set()
    gate.touch()
    thread.join()
    [error] = outcome
    assert isinstance(error, session.CancelledError) and str(error) == "board: interrupted"


def test_the_users_shared_connections_are_left_alone(board: Sshd) -> None:
    with (board.folder / "ssh_config").open("a") as config:
        config.write(f"    ControlMaster auto\n    ControlPath {board.folder}/shared\n")
    with Connection(route_to(board.url)):
        assert not (board.folder / "shared").exists()


def test_a_home_that_can_not_be_written_is_told_from_keys(board: Sshd) -> None:
    (board.home / FOLDER).touch()
    with pytest.raises(DeviceError, match=r"needs a home folder there that it can write to.*Not a directory"):
        Connection(route_to(board.url))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["u@h: Permission denied (publickey,password)."], "takes none of your keys"),
        (["sh: 1: exec: /opt/python3: Permission denied"], "may not run python3"),
        (["Could not chdir to home directory /home/u: No such file or directory", "exec: python3: not found"],
         "has no python3"),
        (["Could not chdir to home directory /home/u: No such file or directory", "Killed"], "Killed"),
        (["\x1b[2Jgone"], r"\\x1b\[2Jgone"),
    ],
)  # fmt: skip
def test_what_ssh_says_is_explained(lines: list[str], said: str) -> None:
    found = explain(route_to("ssh://u@h"), lines)
    assert found is not None and re.search(said, found)


def test_unknown_hosts_keys_and_pythons_are_told_apart(
    board: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match=r"has no /opt/no/python3; give another with"):
        Connection(route_to(board.url, "/opt/no/python3"))
    with pytest.raises(DeviceError, match="refuses connections"):
        Connection(route_to("ssh://root@127.0.0.1:1"))
    strange = tmp_path / "ssh"
    strange.write_text(
        f"#!/bin/sh\nexec {board.wrapper} -o UserKnownHostsFile=/dev/null "
        '-o GlobalKnownHostsFile=/dev/null "$@"\n'
    )
    strange.chmod(0o755)
    monkeypatch.setenv("EDGETL_SSH", str(strange))
    with pytest.raises(DeviceError, match=r"its host key is not known here.*compare the fingerprint"):
        Connection(route_to(board.url))
    monkeypatch.setenv("EDGETL_SSH", str(board.wrapper))
    with pytest.raises(DeviceError, match="takes none of your keys"):
        Connection(route_to(f"ssh://nobody@127.0.0.1:{board.port}"))
    monkeypatch.setenv("EDGETL_SSH", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"EDGETL_SSH is .* which is no ssh program"):
        Connection(route_to(board.url))


def test_a_login_shell_that_talks_is_told_so(
    board: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talking = tmp_path / "ssh"
    talking.write_text(f'#!/bin/sh\necho Welcome to the board\nexec {board.wrapper} "$@"\n')
    talking.chmod(0o755)
    monkeypatch.setenv("EDGETL_SSH", str(talking))
    with pytest.raises(DeviceError, match=r"printed 'Welcome to the board' at login"):
        Connection(route_to(board.url))


def test_facts_are_the_devices(device: Device) -> None:
    facts = facts_of(device, Silent())
    assert facts["environment"]["machine"] == os.uname().machine
    assert facts["environment"]["emulated"] is None
    assert {"onnxruntime", "openvino"} <= {name for name, each in facts["backends"].items() if each["ok"]}


def test_over_a_slow_lossy_network_that_is_cut(
    programs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := sshd.skip_reason() or netem.skip_reason():
        pytest.skip(reason)
    monkeypatch.setattr("edgetl.remote.ssh._ANSWER_SECONDS", 4.0)
    files = {sha256(data): data for data in (os.urandom(100_000) for _ in range(6))}
    with (
        netem.Link(delay_ms=20, loss=0.01) as link,
        Sshd(address=link.address, prefix=link.inside, environment={"PATH": programs}) as board,
    ):
        monkeypatch.setenv("EDGETL_SSH", str(board.wrapper))
        with Remote(Device("far", route_to(board.url)), Silent()) as remote:
            cut = iter([True])

            def pull(done: int, total: int) -> None:
                if done > total // 3 and next(cut, False):
                    link.cut()
                    threading.Timer(6.0, link.mend).start()

            remote.send(files, pull)
            assert remote.reconnected >= 1
            assert remote.ask("have", client=remote.client, files=dict.fromkeys(files, 100000)) == {
                "missing": {}
            }


@pytest.mark.parametrize(
    ("numpy", "pillow", "said"),
    [
        ("1.26.4", "10.1.0", None),
        ("2.4.6", "13.0.0", None),
        (None, "13.0.0", None),
        ("1.21.5", "13.0.0", "numpy 1.21.5, which is older than 1.26"),
        ("2.0", "9.0.1", "pillow 9.0.1, which is older than 10.1"),
    ],
)
def test_packages_that_are_too_old_are_named(numpy: str | None, pillow: str | None, said: str | None) -> None:
    assert too_old({"numpy": numpy, "pillow": pillow}.get) == said
