"""The example backend and broken variants of it, installed for the time of the tests."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from edgetl.backends import _third_party
from edgetl.conformance import CHECKS, Case, Check, Outcome, outcome
from edgetl.profiles import Target

EXAMPLE = Path(__file__).parents[2] / "examples" / "backend"
BROKEN = Path(__file__).with_name("broken.py")
TARGET = EXAMPLE / "edgetl_numpy" / "targets" / "numpy-cpu.toml"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the path with both packages, as an installer leaves them: files and entry points."""
    folder = tmp_path_factory.mktemp("site")
    facts = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "edgetl_numpy", folder / "edgetl_numpy")
    _describe(folder, facts["name"], facts["version"], facts["entry-points"]["edgetl.backends"])
    shutil.copyfile(BROKEN, folder / "edgetl_broken.py")
    _describe(folder, "edgetl-broken", "1.0", {name: f"edgetl_broken:{name}" for name in broken_names()})
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    _third_party.cache_clear()
    yield folder
    sys.path.remove(str(folder))
    _third_party.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("edgetl_numpy", "edgetl_broken"))]:
        del sys.modules[name]


def broken_names() -> list[str]:
    return re.findall(r"^class (\w+)\((?:Named|Elsewhere)\)", BROKEN.read_text(), re.MULTILINE)


def _describe(site: Path, name: str, version: str, entries: dict[str, str]) -> None:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{key} = {value}" for key, value in entries.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[edgetl.backends]", *lines, ""]))


@pytest.fixture
def numpy_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Target:
    """The example's target, in the user's folder, where it may be copied to."""
    folder = tmp_path / "config" / "edgetl" / "targets"
    folder.mkdir(parents=True)
    shutil.copyfile(TARGET, folder / TARGET.name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    from edgetl import profiles

    return profiles.target("numpy-cpu")


@pytest.fixture
def examine(
    installed: Path, numpy_target: Target, tmp_path: Path
) -> Callable[[str], Callable[[str], Outcome]]:
    """Runs the check whose name begins so, on a variant."""

    def variant(name: str) -> Callable[[str], Outcome]:
        case = Case(numpy_target.model_copy(update={"backend": name}), tmp_path / "case")

        def run(begins: str) -> Outcome:
            chosen: list[Check] = [check for check in CHECKS if check.name.startswith(begins)]
            assert len(chosen) == 1, begins
            return outcome(chosen[0], case)

        return run

    return variant
