"""The boards themselves: what they run, how they fail, and that they leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.boards import arm64, netem, sshd
from tests.boards.netem import Link
from tests.boards.python import make_python
from tests.boards.sshd import Sshd

pytestmark = pytest.mark.skipif(sshd.skip_reason() is not None, reason=str(sshd.skip_reason()))


@pytest.fixture
def board() -> Iterator[Sshd]:
    with Sshd() as running:
        yield running


def test_a_command_runs_in_a_home_of_its_own(board: Sshd) -> None:
    done = board.run('pwd; echo "$HOME"; printf "%s|" "a b" "it\'s"; echo kept > file; exit 3')
    assert done.returncode == 3
    assert done.stdout.decode().splitlines() == [str(board.home), str(board.home), "a b|it's|"]
    assert (board.home / "file").read_text() == "kept\n"
    assert board.home != Path.home()


def test_files_go_over_sftp_too(board: Sshd, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(bytes(range(256)))
    command = ["sftp", "-q", "-S", str(board.wrapper), "-b", "-", board.url.replace("ssh:", "sftp:")]
    subprocess.run(command, input=f"put {tmp_path}/sent sent\n".encode(), check=True, capture_output=True)
    assert (board.home / "sent").read_bytes() == bytes(range(256))


def test_a_cut_ends_the_connection_and_leaves_the_detached_command_and_new_ones(board: Sshd) -> None:
    assert board.run("nohup setsid sleep 600 >/dev/null 2>&1 & echo $! > detached").returncode == 0
    with _session(board, "echo started; sleep 600") as session:
        assert session.stdout is not None and session.stdout.readline() == b"started\n"
        assert board.connections()
        assert board.cut() > 0
        assert session.wait(20) == 255
    assert not board.connections()
    assert _alive(int((board.home / "detached").read_text()))
    assert board.run("echo again").stdout == b"again\n"
    board.stop()
    assert not _alive(int((board.home / "detached").read_text()))


def test_a_frozen_connection_says_nothing_until_it_is_thawed(board: Sshd) -> None:
    with _session(board, "cat", stdin=subprocess.PIPE) as session:
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write(b"one\n")
        session.stdin.flush()
        assert session.stdout.readline() == b"one\n"
        board.freeze()
        session.stdin.write(b"two\n")
        session.stdin.close()
        time.sleep(0.3)
        assert session.poll() is None
        assert board.run("echo other").stdout == b"other\n"
        board.thaw()
        assert session.stdout.read() == b"two\n"
        assert session.wait(20) == 0


def test_a_host_key_that_is_not_the_known_one_is_refused(board: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    key = (tmp_path / "other.pub").read_text()
    (board.folder / "known_hosts").write_text(f"[{board.address}]:{board.port} {key}")
    refused = board.run("echo in", "-oStrictHostKeyChecking=yes")
    assert refused.returncode == 255
    assert refused.stdout == b""
    assert b"REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    (board.folder / "known_hosts").write_text("")
    assert b"Host key verification failed" in board.run("echo in", "-oStrictHostKeyChecking=yes").stderr


def test_power_off_and_boot_keep_the_home_and_the_keys(board: Sshd) -> None:
    board.run("echo kept > file")
    board.stop()
    assert board.run("true").returncode == 255
    board.start()
    assert board.run("cat file").stdout == b"kept\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_board_whose_test_was_killed(number: signal.Signals, tmp_path: Path) -> None:
    script = (
        "from tests.boards.sshd import Sshd; import subprocess, time\n"
        "with Sshd() as board:\n"
        "    board.run('setsid sleep 600 >/dev/null 2>&1 & echo $! > detached')\n"
        "    subprocess.Popen([board.wrapper, board.url, 'sleep 600'])\n"
        "    while not board.connections(): time.sleep(0.01)\n"
        "    detached = (board.home / 'detached').read_text()\n"
        "    print(board._guard.pid, *board.connections(), detached, flush=True)\n"
        "    time.sleep(600)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) >= 3 and all(map(_alive, pids))
        owner.send_signal(number)
    _wait_until(lambda: not any(map(_alive, pids)))


@pytest.mark.skipif(bool(os.geteuid()), reason="only root can become another user")
def test_an_ordinary_user_can_be_a_board(tmp_path: Path) -> None:
    if not (python := shutil.which("python3", path=os.defpath)):
        pytest.skip("no python3 that every user may run")
    users = Path("/etc/passwd").read_text() + "boarder:x:54321:54321::/nonexistent:/bin/sh\n"
    (tmp_path / "passwd").write_text(users)
    script = (
        f"import sys; sys.path.insert(0, {str(Path.cwd())!r})\n"
        "from tests.boards.sshd import Sshd\n"
        "with Sshd() as board: print(board.run('id -un; pwd').stdout.decode(), board.home)"
    )
    become = (
        'mount --bind "$1" /etc/passwd && shift && '
        'exec setpriv --reuid=54321 --regid=54321 --clear-groups "$@"'
    )
    command = ["unshare", "--mount", "sh", "-c", become, "sh", str(tmp_path / "passwd"), python, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout.split()[0] == "boarder", done.stderr
    assert done.stdout.split()[1] == done.stdout.split()[2]


def test_a_board_s_python_has_what_was_named_and_nothing_else(tmp_path: Path) -> None:
    programs = make_python(tmp_path / "python", ["numpy", "pillow"])
    with Sshd(environment={"PATH": f"{programs}:{os.defpath}"}) as board:
        assert board.run("python3 -c 'import numpy, PIL.Image; numpy.zeros(3)'").returncode == 0
        for module in ("edgetl", "click", "onnxruntime"):
            assert f"No module named '{module}'" in board.run(f"python3 -c 'import {module}'").stderr.decode()


def test_a_bad_network_delays_loses_and_drops() -> None:
    if reason := netem.skip_reason():
        pytest.skip(reason)
    with Link(delay_ms=200) as link, Sshd(address=link.address, prefix=link.inside) as board:
        before = time.monotonic()
        assert board.run("echo far").stdout == b"far\n"
        assert time.monotonic() - before > 1.0  # some ten round trips
        link.shape(delay_ms=4, loss=0.03)
        assert len(board.run("head -c 300000 /dev/zero").stdout) == 300000
        link.shape(delay_ms=0, loss=0)
        with _session(board, "echo started; sleep 600", "-oServerAliveInterval=1") as session:
            assert session.stdout is not None and session.stdout.readline() == b"started\n"
            link.cut()
            assert session.wait(20) == 255
        link.mend()
        assert board.run("echo again").stdout == b"again\n"


def test_the_aarch64_root_runs_arm_code() -> None:
    if reason := arm64.skip_reason():
        pytest.skip(reason)
    with arm64.board() as board:
        done = board.run(
            'python3 -c "import platform, numpy, PIL, onnxruntime; print(platform.machine())"; pwd'
        )
        assert done.stdout.decode().splitlines()[:2] == ["aarch64", board.remote_home], done.stderr
        board.run("echo kept > file")
        assert (board.home / "file").read_text() == "kept\n"


def _session(
    board: Sshd, command: str, *options: str, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    line = [str(board.wrapper), *options, "-oServerAliveCountMax=2", board.url, "--", command]
    return subprocess.Popen(line, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wait_until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < end, "waited for 20 s"
        time.sleep(0.02)
