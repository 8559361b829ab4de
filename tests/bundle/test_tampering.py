from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.bundle.check import check_files
from edgetl.bundle.manifest import NAME
from edgetl.bundle.runtime import load
from edgetl.bundle.verify import verify
from edgetl.errors import BundleError, EdgetlError
from edgetl.files import relative_files


def test_a_flipped_byte_in_any_file(bundle: Path, refused: Any) -> None:
    for name in relative_files(bundle):
        path = bundle / name
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            data = bytearray(whole)
            data[place] ^= 4
            path.write_bytes(data)
            message = refused(lambda: load(bundle))
            assert name in message
        path.write_bytes(whole)
    check_files(bundle)


def test_a_missing_file(bundle: Path, refused: Any) -> None:
    for name in relative_files(bundle):
        path = bundle / name
        whole = path.read_bytes()
        path.unlink()
        assert name in refused(lambda: check_files(bundle))
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["extra", "engine/extra.so", ".hidden", "golden/deep/er"])
def test_an_extra_file(bundle: Path, name: str, refused: Any) -> None:
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_text("x")
    assert name.removesuffix("/er") in refused(lambda: check_files(bundle))


@pytest.mark.parametrize("name", ["engine/model.bin", NAME, "engine", "new"])
def test_a_symbolic_link(bundle: Path, tmp_path: Path, name: str, refused: Any) -> None:
    path = bundle / name
    if path.exists():
        path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    refused(lambda: check_files(bundle))


def mutate(bundle: Path, rng: np.random.Generator) -> str:
    """Do one random harm to a bundle; tells which."""
    names = relative_files(bundle)
    name = NAME if rng.random() < 0.4 else names[rng.integers(len(names))]
    path = bundle / name
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data)))
    harm = ("flip", "cut", "insert", "delete", "swap", "remove", "rename")[rng.integers(7)]
    if harm == "flip":
        data[place] ^= 1 << int(rng.integers(8))
    elif harm == "cut":
        del data[place:]
    elif harm == "insert":
        data[place:place] = bytes([int(rng.integers(0x21, 0x7F))])
    elif harm == "delete":
        del data[place]
    elif harm == "swap":
        other = bundle / names[(names.index(name) + 1) % len(names)]
        data = bytearray(other.read_bytes())
    elif harm == "remove":
        path.unlink()
        return f"{harm} {name}"
    elif harm == "rename":
        path.rename(path.with_name("renamed"))
        return f"{harm} {name}"
    path.write_bytes(data)
    return f"{harm} {name} at {place}"


def parsed(bundle: Path) -> object:
    try:
        return json.loads((bundle / NAME).read_bytes())
    except (OSError, ValueError):
        return None


def test_random_harm_is_never_accepted(pristine: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    meaning = parsed(pristine)
    refusals = 0
    for turn in range(250):
        bundle = Path(shutil.copytree(pristine, tmp_path / str(turn)))
        harm = mutate(bundle, rng)
        harmless = parsed(bundle) == meaning and " manifest.json at" in harm  # white space in the manifest
        try:
            check_files(bundle)
        except BundleError as error:
            refusals += 1
            assert "\n" not in str(error), harm  # noqa: PT017
        else:
            assert harmless, harm
        shutil.rmtree(bundle)
    assert refusals > 240


def test_random_harm_with_fitting_digests_raises_nothing_but_ours(
    pristine: Path, tmp_path: Path, refresh: Any
) -> None:
    rng = np.random.default_rng(8)
    for turn in range(25):
        bundle = Path(shutil.copytree(pristine, tmp_path / str(turn)))
        mutate(bundle, rng)
        if parsed(bundle) is None:
            continue
        try:
            refresh(bundle)
            verify(bundle)
        except (EdgetlError, KeyError):  # KeyError: the forger's own, of a manifest without its parts
            pass
        shutil.rmtree(bundle)
