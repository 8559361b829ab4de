"""The job that installs a runtime on request: errors in one line, a half-made environment made anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from edgetl.remote import installer


def test_it_is_a_program_of_the_standard_library(tmp_path: Path) -> None:
    job, environment = tmp_path / "job", tmp_path / "environment"
    job.mkdir()
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").write_text("left by one that was killed")
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "nothing"\nversion = "1"\n')
    request = {"environment": str(environment), "packages": [str(tmp_path / "no-such-package")]}
    (job / "request.json").write_text(json.dumps(request))
    subprocess.run([sys.executable, "-I", installer.__file__, str(job)], check=True, timeout=120)
    failed = json.loads((job / "result.json").read_text())["failed"]
    assert failed.startswith("pip could not install ") and "\n" not in failed
    assert not (environment / installer.INSTALLED).exists()
    assert installer.install(environment, ["pip"]) == {"python": str(environment / "bin" / "python")}
    assert (environment / installer.INSTALLED).exists()


def test_where_no_environment_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "no environment could be made" in installer.install(tmp_path / "file" / "x", ["pip"])["failed"]
