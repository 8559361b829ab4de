"""Environments of toolchains: made of a local package, since what matters is how they come and go."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgetl.cli import toolchain as command_line
from edgetl.errors import EdgetlError, InputError
from edgetl.progress import Silent
from edgetl.toolchains import catalogue, how_to_get, install, installed, remove, toolchain, version
from edgetl.toolchains.install import find_python
from edgetl.toolchains.place import folder, root

HERE = "{}.{}".format(*sys.version_info[:2])


def write_wheel(out: Path) -> Path:
    """A package with one module, as small as pip takes it."""
    info = "tinytool-1.0.dist-info"
    path = out / "tinytool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinytool.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinytool\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(
            f"{info}/RECORD", f"tinytool.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def tiny_tool(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> catalogue.Toolchain:
    """The only toolchain there is, with a folder of its own."""
    chosen = catalogue.Toolchain(
        "tiny", "Tiny tool", "1.0", (HERE,), (f"tinytool @ {wheel.as_uri()}",), 1, 20, 5
    )
    monkeypatch.setattr(catalogue, "_TOOLCHAINS", (chosen,))
    monkeypatch.setenv("EDGETL_TOOLCHAINS", str(tmp_path / "toolchains"))
    return chosen


class Steps(Silent):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.done: list[tuple[int, int]] = []

    def stage(self, title: str):  # type: ignore[no-untyped-def]
        import contextlib

        self.titles.append(title)
        return contextlib.nullcontext(lambda done, total: self.done.append((done, total)))


def answer_of(python: Path) -> str:
    command = [str(python), "-c", "import tinytool; print(tinytool.ANSWER)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.usefixtures("tiny_tool")
def test_announced_installed_used_and_removed() -> None:
    run = CliRunner().invoke
    assert installed("tiny") is None and version("tiny") is None
    assert "not installed" in run(command_line.command, ["ls"]).output
    done = run(command_line.command, ["install", "tiny"])
    assert done.exit_code == 0, done.output
    announced = done.stderr.splitlines()[0]
    assert "20 MB of disk" in announced and "1 MB to download" in announced and "5 s" in announced
    python = installed("tiny")
    assert python and done.stdout.strip() == str(python)
    assert version("tiny") == "1.0" and answer_of(python) == "42"
    rows = json.loads(run(command_line.command, ["ls", "--json"]).stdout)
    assert rows[0]["python"] == str(python) and rows[0]["disk_mb"] > 0
    before = folder("tiny").stat().st_mtime_ns
    assert install("tiny", Silent()) == python and folder("tiny").stat().st_mtime_ns == before
    assert not list(root().glob("*.log"))

    (folder("tiny") / "edgetl.json").rename(root() / "mark")
    assert installed("tiny") is None, "the mark alone is believed"
    (root() / "mark").rename(folder("tiny") / "edgetl.json")

    assert run(command_line.command, ["remove", "tiny"]).output == "removed tiny\n"
    assert run(command_line.command, ["remove", "tiny"]).output == "tiny is not installed\n"
    assert installed("tiny") is None
    assert [path.name for path in root().iterdir()] == [".tiny.lock"]


@pytest.mark.usefixtures("tiny_tool")
def test_other_requirements_are_another_installation(
    tiny_tool: catalogue.Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder("tiny")
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").touch()
    (place / "edgetl.json").write_text(json.dumps({"requirements": list(tiny_tool.requirements)}))
    assert installed("tiny")
    monkeypatch.setattr(catalogue, "_TOOLCHAINS", (replace(tiny_tool, requirements=("tinytool==2.0",)),))
    assert installed("tiny") is None
    (place / "edgetl.json").write_text("torn")
    assert installed("tiny") is None


@pytest.mark.usefixtures("tiny_tool")
def test_failed_package_is_one_line_and_no_installation(
    tiny_tool: catalogue.Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = (tmp_path / "gone-1.0-py3-none-any.whl").as_uri()
    monkeypatch.setattr(catalogue, "_TOOLCHAINS", (replace(tiny_tool, requirements=(f"gone @ {gone}",)),))
    with pytest.raises(EdgetlError, match=r"^python failed: ERROR: .*log: .*tiny\.log$") as caught:
        install("tiny", Silent())
    assert "\n" not in str(caught.value)
    assert installed("tiny") is None
    assert "gone" in (root() / "tiny.log").read_text()


def test_no_network_is_said_to_be_none(
    tiny_tool: catalogue.Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_TOOLCHAINS", (replace(tiny_tool, requirements=("gone",)),))
    for name, value in (("INDEX_URL", "http://127.0.0.1:9"), ("RETRIES", "1"), ("NO_CACHE_DIR", "1")):
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(EdgetlError, match=r"^pip can't reach the package index; check the network"):
        install("tiny", Silent())
    assert installed("tiny") is None


_KILLED = """
import sys
from edgetl.progress import Silent
from edgetl.toolchains import catalogue, install
name, requirement, python = sys.argv[1:]
catalogue._TOOLCHAINS = (catalogue.Toolchain(name, "Tiny tool", "1.0", (python,), (requirement,), 1, 20, 5),)
install(name, Silent())
"""


def test_killed_installation_goes_on(tiny_tool: catalogue.Toolchain) -> None:
    command = [sys.executable, "-c", _KILLED, "tiny", tiny_tool.requirements[0], HERE]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 60
    while not folder("tiny").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(InputError, match="another process is at the toolchain tiny; wait for it"):
        install("tiny", Silent())
    with pytest.raises(InputError, match="another process"):
        remove("tiny")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert installed("tiny") is None
    stray = folder("tiny") / "stray"
    stray.touch()
    steps = Steps()
    assert answer_of(install("tiny", steps)) == "42"
    assert not stray.exists(), "it is made anew, over whatever the killed one left"
    assert steps.titles == ["make an environment for Tiny tool", "install Tiny tool 1.0"]
    assert steps.done[-1] == (1, 1)


@pytest.mark.usefixtures("tiny_tool")
def test_lock_goes_with_its_owner() -> None:
    root().mkdir(parents=True)
    with (root() / ".tiny.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            remove("tiny")
    assert not remove("tiny")


@pytest.mark.usefixtures("tiny_tool")
def test_too_little_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 10**6))
    with pytest.raises(EdgetlError, match=r"Tiny tool needs 320 MB of disk in .*, 1 MB are free"):
        install("tiny", Silent())
    assert not folder("tiny").exists()


def test_python_is_found_or_told(
    tiny_tool: catalogue.Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_python(tiny_tool) == sys.executable
    monkeypatch.setenv("PATH", str(tmp_path))
    shim = tmp_path / "python3.1"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    with pytest.raises(EdgetlError, match=rf"needs Python 3\.1, 3\.2 with its venv module; this is {HERE}"):
        find_python(replace(tiny_tool, pythons=("3.2", "3.1")))
    shim.write_text("#!/bin/sh\necho 3.1\n")
    assert find_python(replace(tiny_tool, pythons=("3.2", "3.1"))) == str(shim)


def test_unwritable_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGETL_TOOLCHAINS", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot use the toolchain folder .*; set EDGETL_TOOLCHAINS"):
        remove("rknn")


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGETL_TOOLCHAINS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert root() == tmp_path / "edgetl" / "toolchains"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert root() == Path.home() / ".local" / "share" / "edgetl" / "toolchains"


def test_catalogue_is_pinned() -> None:
    for name in catalogue.toolchain_names():
        each = toolchain(name)
        assert all("==" in requirement for requirement in each.requirements)
        assert how_to_get(name) == f"install it with: edgetl toolchain install {name}"
    with pytest.raises(InputError, match="unknown toolchain 'rkn'; did you mean rknn"):
        toolchain("rkn")
