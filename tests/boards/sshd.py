"""A real OpenSSH server on loopback, as a board for tests: its own keys, its own home, and ways to fail."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.boards.guard import descendants, guarded

LOOPBACK = "127.0.0.1"
PATIENCE_S = 20.0

# SetEnv sets HOME, but sshd has changed to the home that the password file names by then
IN_HOME = (
    'cd "$HOME" && if [ -n "$SSH_ORIGINAL_COMMAND" ]; '
    'then exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND"; else exec "$SHELL" -l; fi'
)

SERVER = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
UseDNS no
LoginGraceTime 20
MaxStartups 1000
MaxSessions 100
PrintMotd no
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv {environment}
ForceCommand {force}
ChrootDirectory {chroot}
"""

CLIENT = """\
Host *
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    BatchMode yes
"""


def skip_reason() -> str | None:
    """Why no sshd can run here, with the command that helps; None if one can."""
    missing = [name for name in ("sshd", "ssh", "ssh-keygen") if not _program(name)]
    return f"no {', '.join(missing)}: run `apt-get install openssh-server`" if missing else None


class Sshd:
    """A context manager: the server runs inside, and so does everything that was started on it.

    Args:
        port: to listen on; a free one if None.
        environment: variables of the commands on the board, beside HOME.
        chroot: a root folder that commands run in (needs the user root).
        address: to listen on.
        prefix: a command line that runs the server's, in a network namespace for instance.

    Attributes:
        folder: temporary: keys, configurations, ``log``.
        home: HOME of the commands and the folder they start in, as a path of this machine: new and empty.
        wrapper: a program that is ``ssh`` with this server's keys, for EDGETL_SSH.
        url: ``ssh://user@address:port``.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        chroot: Path | None = None,
        address: str = LOOPBACK,
        prefix: Sequence[str] = (),
    ) -> None:
        self.address = address
        self.port = port or _free_port()
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.chroot = chroot
        self._environment = dict(environment or {})
        self._prefix = prefix
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Sshd:
        with contextlib.ExitStack() as stack:
            temporary = tempfile.TemporaryDirectory(prefix="edgetl-sshd-")
            self.folder = Path(stack.enter_context(temporary))
            inside = None if self.chroot is None else self.chroot / "tmp"
            # a folder may still be written to while the board is being stopped
            homes = tempfile.TemporaryDirectory(prefix="edgetl-home-", dir=inside, ignore_cleanup_errors=True)
            self.home = Path(stack.enter_context(homes))
            self._write()
            self.start()
            stack.callback(self.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"ssh://{self.user}@{self.address}:{self.port}"

    @property
    def wrapper(self) -> Path:
        return self.folder / "ssh"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def remote_home(self) -> str:
        """``home`` as commands on the board see it."""
        return str(self.home if self.chroot is None else Path("/") / self.home.relative_to(self.chroot))

    def run(self, command: str, *options: str, timeout_s: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run a command line of the board's shell, with ``options`` for ssh."""
        line = [str(self.wrapper), *options, self.url, "--", command]
        return subprocess.run(
            line, capture_output=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Boot: listen again, with the same keys and the same home."""
        if not os.geteuid():  # made at boot where sshd is a service
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [*self._prefix, _program("sshd"), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        number = self.folder / "pid"
        number.unlink(missing_ok=True)
        with (self.folder / "log").open("wb") as log:
            self._guard = subprocess.Popen(
                guarded(*filter(None, command)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE_S
        while not (number.exists() and number.read_text().strip()):
            if self._guard.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"sshd did not start: {'; '.join(self.log.splitlines())}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Power off: nothing that ran on the board is left; the home stays as it was."""
        self._guard.terminate()
        self._guard.wait(PATIENCE_S)

    def connections(self) -> list[int]:
        """The server's processes of live connections, without the commands that these run."""
        listener = int((self.folder / "pid").read_text())
        return [pid for pid in descendants(self._guard.pid) if pid != listener and _is_sshd(pid)]

    def cut(self) -> int:
        """End every live connection, as a pulled cable does; returns how many processes it took.

        What the commands detached runs on, and new connections are welcome.
        """
        return _signal(self.connections(), signal.SIGKILL)

    def freeze(self) -> int:
        """A network that hangs: live connections say nothing more, and are not closed, until ``thaw()``."""
        return _signal(self.connections(), signal.SIGSTOP)

    def thaw(self) -> int:
        return _signal(self.connections(), signal.SIGCONT)

    def _write(self) -> None:
        keygen = [str(_program("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-C", "edgetl tests", "-f"]
        for name in ("host_key", "user_key"):
            subprocess.run([*keygen, str(self.folder / name)], check=True)
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        host = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[{self.address}]:{self.port} {host}")
        variables = {**self._environment, "HOME": self.remote_home}
        facts = {
            "port": self.port,
            "address": self.address,
            "folder": self.folder,
            "environment": " ".join(f'"{name}={value}"' for name, value in variables.items()),
            "force": IN_HOME,
            "chroot": self.chroot or "none",
        }
        (self.folder / "sshd_config").write_text(SERVER.format_map(facts))
        (self.folder / "ssh_config").write_text(CLIENT.format_map(facts))
        self.wrapper.write_text(f'#!/bin/sh\nexec {_program("ssh")} -F {self.folder}/ssh_config "$@"\n')
        self.wrapper.chmod(0o755)


def _program(name: str) -> str | None:
    """Its absolute path, which sshd insists on; a user's PATH leaves out sbin."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _is_sshd(pid: int) -> bool:
    """Newer servers call the processes of a connection sshd-session and sshd-auth."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except OSError:
        return False


def _signal(pids: Iterable[int], number: signal.Signals) -> int:
    sent = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            sent += 1
    return sent
