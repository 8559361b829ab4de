"""Makes a toolchain's virtual environment: the venv, its pinned packages by pip, the mark."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgetl.errors import EdgetlError
from edgetl.progress import Advance, Observer
from edgetl.toolchains.catalogue import Toolchain, toolchain
from edgetl.toolchains.place import discard, folder, installed, locked, python_in, root, write_mark

_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
_FETCHED = ("Collecting ", "Requirement already satisfied", "Processing ")
_RETRYING = "WARNING: Retrying"
_SPARE_MB = 300
"""Room for pip's temporary files."""


def install(name: str, observer: Observer) -> Path:
    """Make the toolchain's environment and return its Python; at once where it is whole already.

    One that was killed half-way is made anew; what pip has downloaded it takes from its cache.

    Raises:
        InputError: if there is no such toolchain, or another process is at it.
        EdgetlError: if there is no suitable Python, too little disk, or pip fails.
    """
    chosen = toolchain(name)
    if found := installed(name):
        return found
    with locked(chosen):
        if found := installed(name):
            return found
        python = find_python(chosen)
        discard(name)
        _require_disk(chosen)
        log = root() / f"{name}.log"
        with log.open("wb") as noise:
            with observer.stage(f"make an environment for {chosen.title}"):
                _run([python, "-m", "venv", str(folder(name))], log, noise)
            with observer.stage(f"install {chosen.title} {chosen.version}") as advance:
                _pip_install(chosen, log, noise, advance)
        write_mark(chosen)
        log.unlink()
        return python_in(folder(name))


def find_python(chosen: Toolchain) -> str:
    """A Python that the toolchain has wheels for: this one if it fits, else one on the PATH.

    Raises:
        EdgetlError: if there is none.
    """
    here = "{}.{}".format(*sys.version_info[:2])
    if here in chosen.pythons and _answers(sys.executable, here):
        return sys.executable
    for version in chosen.pythons:
        candidate = shutil.which(f"python{version}")
        if candidate and _answers(candidate, version):
            return candidate
    wanted = ", ".join(sorted(chosen.pythons, key=lambda version: int(version.split(".")[1])))
    raise EdgetlError(
        f"{chosen.title} {chosen.version} needs Python {wanted} with its venv module; "
        f"this is {here} and none of them is on the PATH"
    )


def _answers(python: str, version: str) -> bool:
    """Whether it is that version and can make environments; what the PATH names may be a hollow shim."""
    try:
        done = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == version


def _require_disk(chosen: Toolchain) -> None:
    free = shutil.disk_usage(root()).free / 1e6
    needed = chosen.disk_mb + _SPARE_MB
    if free < needed:
        raise EdgetlError(
            f"{chosen.title} needs {needed} MB of disk in {root()} ({_SPARE_MB} of them only while it is "
            f"installed), {free:.0f} MB are free; "
            "make room or set EDGETL_TOOLCHAINS"
        )


def _pip_install(chosen: Toolchain, log: Path, noise: IO[bytes], advance: Advance) -> None:
    options = ["--no-deps", "--progress-bar", "off", "--disable-pip-version-check", "--no-input"]
    python = str(python_in(folder(chosen.name)))
    command = [python, "-m", "pip", "install", *options, *chosen.requirements]
    _run(command, log, noise, advance, len(chosen.requirements))


def _run(
    command: Sequence[str],
    log: Path,
    noise: IO[bytes],
    advance: Advance | None = None,
    total: int = 0,
) -> None:
    """Run a command with its output in the log; each package it begins with is a step.

    Raises:
        EdgetlError: if it fails.
    """
    done, last, unreachable = 0, "", False
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                noise.write(line)
                noise.flush()
                text = line.decode(errors="replace").strip()
                last = text if text.startswith("ERROR") or not last.startswith("ERROR") else last
                unreachable |= _RETRYING in text
                if advance and text.startswith(_FETCHED):
                    done += 1
                    advance(min(done, total), total)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 and unreachable:
        raise EdgetlError(f"pip can't reach the package index; check the network and the proxy; log: {log}")
    if process.returncode != 0:
        raise EdgetlError(f"{Path(command[0]).name} failed: {last or process.returncode}; log: {log}")
