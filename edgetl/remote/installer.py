"""A job that brings an engine's runtime to a device that lacks it, into an environment of edgetl's own.

Runs as a program of its own: standard library only. What the device has already is used as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

_WORDS = 400
_MADE = "made"
INSTALLED = "installed"
"""A file of the environment once packages were installed into it."""


def main() -> None:
    """``python INSTALLER JOB``: install the request's packages into its folder."""
    job = Path(sys.argv[1])
    request = json.loads((job / "request.json").read_bytes())
    result = install(Path(request["environment"]), list(request["packages"]))
    making = job / "result.json.part"
    making.write_text(json.dumps(result))
    os.replace(making, job / "result.json")


def install(environment: Path, packages: list[str]) -> dict[str, Any]:
    """Make the environment unless it is there, and install into it."""
    python = environment / "bin" / "python"
    try:
        if not (environment / _MADE).exists():  # or one that was killed half-way
            venv.create(environment, with_pip=True, system_site_packages=True, symlinks=True, clear=True)
            (environment / _MADE).touch()
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return {"failed": f"no environment could be made ({_line(error)}); Debian has it in python3-venv"}
    if done.returncode != 0:
        return {"failed": f"pip could not install {', '.join(packages)}: {_line(done.stderr)}"}
    (environment / INSTALLED).touch()
    return {"python": str(python)}


def _line(said: object) -> str:
    return " ".join(str(said).split())[-_WORDS:]


if __name__ == "__main__":
    main()
