"""``kill -9`` at random moments, then the same command again: the same results as an undisturbed run.

``EDGETL_TEST_KILLS`` sets the number of kills, ``EDGETL_TEST_IMAGES`` a folder of one's own to do it on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetl.files import relative_files, sha256_file
from tests.e2e.driving import CHOSEN, QUICK, TARGETS, Command, Run

KILLS = int(os.environ.get("EDGETL_TEST_KILLS", "2"))
VOLATILE = {"manifest.json", "measurements.json"}
"""They hold times; what they say of the rest is compared field by field."""


def stable(out: Path) -> dict[str, Any]:
    """What two runs on one machine have in common: files digest for digest, results but for times."""
    results = json.loads((out / "results.json").read_text())
    files = {name: sha256_file(out / "bundles" / name) for name in relative_files(out / "bundles")}
    names = (
        "target",
        "precision",
        "accuracy",
        "drop_points",
        "agreement",
        "confusion",
        "changed",
        "refit",
        "gate",
    )
    return {
        "files": {name: digest for name, digest in files.items() if Path(name).name not in VOLATILE},
        "fp32": {name: results["fp32"][name] for name in ("accuracy", "macro_f1", "confusion")},
        "engines": [{name: engine[name] for name in names} for engine in results["engines"]],
        "train": results["train"]["accuracy"],
        "skipped": results["skipped"],
    }


@pytest.mark.timeout(1800)
def test_killed_runs_go_on_to_the_same_results(
    finished: Run, story: Callable[..., Run], shapes: Path, tmp_path: Path
) -> None:
    own = os.environ.get("EDGETL_TEST_IMAGES")
    calm = story(images=Path(own)) if own else finished
    images = Path(own) if own else shapes
    arguments = ["run", images, *CHOSEN, *QUICK, "-o", tmp_path / "disturbed"]
    disturbed = Command(tmp_path / "disturbed-cache")
    chance = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            disturbed.line(*arguments),
            env=disturbed.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(chance.uniform(0.2, 0.6 * calm.seconds))
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            killed += 1
        for file in ("results.json", "report.html"):
            path = tmp_path / "disturbed" / file
            assert not path.exists() or path.stat().st_size > 0
    assert killed > 0
    disturbed(*arguments)
    one, other = stable(calm.out), stable(tmp_path / "disturbed")
    assert {name: digest for name, digest in other["files"].items() if one["files"].get(name) != digest} == {}
    assert one == other
    for target in TARGETS:
        disturbed("verify", tmp_path / "disturbed" / "bundles" / target)
    leftovers = [path.name for path in (tmp_path / "disturbed").rglob(".*~*")]
    assert leftovers == []
