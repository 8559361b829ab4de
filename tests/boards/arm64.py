"""``python -m tests.boards.arm64 [ROOT]``: makes a Debian root for aarch64 that runs here under qemu-user.

It takes some five minutes and 700 MB, once. A second call goes on where the first one was stopped.
What it runs is Arm code with Arm libraries; how long that takes says nothing about any board.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.boards.guard import guarded
from tests.boards.sshd import Sshd

PACKAGES = ("numpy", "onnxruntime", "pillow")
DEBIAN = ("python3", "python3-venv", "openssh-sftp-server")
TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
NEEDS = {"debootstrap": "debootstrap", "qemu-aarch64-static": "qemu-user-static"}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
MARK = "made"


def default_root() -> Path:
    """$EDGETL_ARM64_ROOT, else below the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("EDGETL_ARM64_ROOT") or cache / "edgetl-tests" / "arm64")


def skip_reason(root: Path | None = None) -> str | None:
    """Why the root can't be used, with what to do; None if it can be."""
    root = root or default_root()
    if os.geteuid():
        return "an aarch64 root needs the user root (chroot, binfmt_misc)"
    if not shutil.which("qemu-aarch64-static"):
        return "no qemu-aarch64-static: run `apt-get install qemu-user-static`"
    if not _stamp(root, MARK).exists():
        return f"no aarch64 root in {root}: make it with `python -m tests.boards.arm64`"
    return None


def board(root: Path | None = None, port: int | None = None) -> Sshd:
    """This machine's sshd; every command it runs is Arm's."""
    root = root or default_root()
    register()
    return Sshd(port, chroot=root, prefix=inside(root))


def make(root: Path) -> None:
    """Make the root, or what is missing of it.

    Raises:
        SystemExit: with one line, if a part can't be had.
    """
    if os.geteuid():
        sys.exit("making an aarch64 root needs the user root")
    if missing := sorted(package for tool, package in NEEDS.items() if not shutil.which(tool)):
        sys.exit(f"missing tools: run `apt-get install {' '.join(missing)}`")
    if loose := [str(folder) for folder in root.parents if folder.exists() and not _is_safe(folder)]:
        sys.exit(f"sshd takes no root in {loose[0]}, which others can write to: name another folder")
    wheels = " ".join(f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES)
    _once(root, "installed", _install)
    _once(root, MARK, _add_wheels, wheels)
    register()
    _say(f"ready: {root}")


def _is_safe(folder: Path) -> bool:
    """What sshd asks of every folder above a ChrootDirectory."""
    status = folder.stat()
    return status.st_uid == 0 and not status.st_mode & 0o022


def register() -> None:
    """Have the kernel run aarch64 programs with qemu, in every root (Debian's line has the flag F)."""
    if (BINFMT / "qemu-aarch64").exists():
        return
    if not (BINFMT / "register").exists():
        _run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    line = Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_bytes()
    (BINFMT / "register").write_bytes(line.strip())


def inside(root: Path) -> list[str]:
    """What stands before a command that needs the root's /proc: the mount ends with the command."""
    script = 'mount -t proc proc "$1/proc" && shift && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", str(root)]


def _once(root: Path, name: str, step: Callable[[Path, str], None], what: str = "") -> None:
    """Do a step unless it was done, with the same ``what``, before."""
    stamp = _stamp(root, name)
    if not stamp.exists() or stamp.read_text() != what:
        step(root, what)
        stamp.write_text(what)


def _install(root: Path, _: str) -> None:
    """Debian itself; an installation that was stopped can't go on, but the packages it fetched are kept."""
    if _stamp(root, "begun").exists():
        shutil.rmtree(root, ignore_errors=True)
    elif root.exists():
        sys.exit(f"{root} exists and was not made by this program: remove it, or name another folder")
    packages = _stamp(root, "packages")
    packages.mkdir(parents=True, exist_ok=True)
    _stamp(root, "begun").touch()
    origin, suite = _mirror()
    _say(f"fetching Debian {suite} for arm64 into {root}")
    options = ["--arch=arm64", "--foreign", "--variant=minbase", f"--cache-dir={packages}"]
    _run("debootstrap", *options, f"--include={','.join(DEBIAN)}", suite, root, origin, env=_proxies())
    register()
    _say("installing its packages under emulation: some 3 minutes")
    _run(*inside(root), "chroot", root, "/debootstrap/debootstrap", "--second-stage")
    shutil.rmtree(packages)


def _add_wheels(root: Path, wheels: str) -> None:
    """The versions that this Python has, where the root's own python3 looks for them."""
    folder = max((root / "usr/local/lib").glob("python3.*")) / "dist-packages"
    _say(f"adding {wheels}")
    options = ["--quiet", "--no-deps", "--upgrade", "--only-binary=:all:", "--implementation=cp"]
    options += [f"--platform={tag}_aarch64" for tag in TAGS]
    options += [f"--python-version={folder.parent.name.removeprefix('python')}", f"--target={folder}"]
    _run(sys.executable, "-m", "pip", "install", *options, *wheels.split())


def _mirror() -> tuple[str, str]:
    """(address, suite): where apt gets this machine's own release from."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    form = "$(ORIGIN)\t$(CODENAME)\t$(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for line in lines:
        origin, suite, address = line.split("\t")
        if (origin, suite) == ("Debian", codename):
            return address, suite
    sys.exit("apt has no index of this machine's Debian release: run `apt-get update`")


def _proxies() -> dict[str, str]:
    """The environment, with the proxy that apt uses."""
    command = ["apt-config", "shell", "http_proxy", "Acquire::http::Proxy"]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    proxy = line.removeprefix("http_proxy=").strip("'")
    return {**os.environ, "http_proxy": proxy} if proxy else dict(os.environ)


def _run(*command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run with its output on stderr; it stops with this process."""
    done = subprocess.run(guarded(*command), stdout=sys.stderr, env=env, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(map(str, command[:2]))} ...` failed; run this again to go on")


def _stamp(root: Path, name: str) -> Path:
    """Beside the root, which holds Debian only."""
    return root.parent / f"{root.name}.{name}"


def _say(text: str) -> None:
    print(f"arm64: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve() if sys.argv[1:] else default_root())
