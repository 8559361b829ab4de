from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgetl.backends import backend_names
from edgetl.errors import InputError
from edgetl.profiles import recipe, recipe_names, target, target_names

SHIPPED = Path(__file__).resolve().parent.parent
NVIDIA = [
    path.stem
    for path in sorted((SHIPPED / "targets").glob("*.toml"))
    if "cuda" in path.read_text(encoding="utf-8")
]
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


@pytest.mark.parametrize("name", NVIDIA)
def test_every_nvidia_target_says_which_device_it_is_for(name: str) -> None:
    from edgetl.backends.tensorrt.settings import BuildSettings

    found = target(name)
    assert found.compute_capabilities and found.device_names and found.device == "cuda:0"
    assert (found.backend == "tensorrt") == (found.made == "on-device")
    settings = BuildSettings.of(found).to_dict()
    assert {key: settings[key] for key in found.build} == found.build


@pytest.mark.parametrize("name", NVIDIA)
def test_facts_have_a_figure_and_name_their_document(name: str) -> None:
    facts = target(name).facts
    if facts is None:
        assert target(name).backend == "tensorrt-rtx"  # a series of cards has no figures of its own
        return
    figures = facts.model_dump(exclude={"source"}).values()
    assert any(figures) and all(figure is None or figure > 0 for figure in figures)
    assert "data sheet" in facts.source.lower() or "datasheet" in facts.source.lower()
    assert facts.peak_int8_tops is None or "dense INT8" in facts.source


def test_rtx_targets_are_of_generations_that_tensorrt_for_rtx_builds_for() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (extra tensorrt-rtx)")
    known = set(trt.ComputeCapability.__members__)
    wanted = {
        cc for name in NVIDIA if "rtx" in target(name).backend for cc in target(name).compute_capabilities
    }
    assert wanted == {"8.6", "8.9", "12.0"}
    assert {f"SM{cc.replace('.', '')}" for cc in wanted} <= known


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
