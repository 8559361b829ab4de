from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgetl.backends import backend_names
from edgetl.errors import InputError
from edgetl.profiles import recipe, recipe_names, target, target_names

SHIPPED = Path(__file__).resolve().parent.parent
TARGET = 'title = "t"\nbackend = "openvino"\nprecision = "int8"\nmachine = "x86_64"\n'


def own(kind: str, name: str, text: str | bytes) -> Path:
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "edgetl" / kind / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in (SHIPPED / "targets").glob("*.toml")))
def test_every_shipped_target_is_valid(name: str) -> None:
    found = target(name)
    assert found.name == name and found.backend in backend_names()
    assert recipe(found.recipe).name == found.recipe


@pytest.mark.parametrize("name", sorted(path.stem for path in (SHIPPED / "calibration").glob("*.toml")))
def test_every_shipped_recipe_is_valid(name: str) -> None:
    assert recipe(name).name == name


def test_names_are_sorted_and_complete() -> None:
    assert target_names() == sorted(path.stem for path in (SHIPPED / "targets").glob("*.toml"))
    assert "default" in recipe_names()


def test_users_file_is_found_first() -> None:
    own("targets", "x86-vnni", TARGET + "batch = 8\n")
    own("targets", "my-board", TARGET)
    assert target("x86-vnni").batch == 8 and target("my-board").title == "t"
    assert "my-board" in target_names() and target_names().count("x86-vnni") == 1


def test_users_recipe() -> None:
    own("calibration", "mine", 'title = "m"\nimages = 7\nkeep_float = ["head.*"]\n')
    assert recipe("mine").images == 7 and recipe("mine").keep_float == ("head.*",)


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(InputError, match=r"unknown target 'x86-vni'; did you mean x86-vnni"):
        target("x86-vni")
    with pytest.raises(InputError, match=r"unknown recipe 'zzz'; known: default"):
        recipe("zzz")


@pytest.mark.parametrize("name", ["../x86-vnni", "/etc/passwd", ""])
def test_names_are_no_paths(name: str) -> None:
    with pytest.raises(InputError, match="unknown"):
        target(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = \n", "line 1"),
        ("title = 't'\ntitle = 't'\n", "line 2"),
        (b"title = '\xff'\n", "utf-8"),
        ("title = 't'\n", "backend"),
        (TARGET + "batsh = 2\n", "batsh"),
        (TARGET + "batch = 0\n", "batch"),
        (TARGET + "batch = 'two'\n", "batch"),
        (TARGET.replace("int8", "int3"), "precision"),
        (TARGET + "weight_bits = 9\n", "weight_bits"),
        (TARGET + "[facts]\npeak_int8_tops = 1\n", "facts.source"),
        (TARGET + "name = '../x'\n", "name"),
    ],
)
def test_bad_files_are_one_line_with_the_path(text: str | bytes, said: str) -> None:
    path = own("targets", "bad", text)
    with pytest.raises(InputError) as caught:
        target("bad")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and said in message and "\n" not in message


def test_a_folder_called_like_a_profile() -> None:
    (Path(os.environ["XDG_CONFIG_HOME"]) / "edgetl" / "targets" / "odd.toml").mkdir(parents=True)
    with pytest.raises(InputError, match=r"odd\.toml"):
        target("odd")


def test_profiles_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        target("x86-vnni").batch = 2  # type: ignore[misc]
