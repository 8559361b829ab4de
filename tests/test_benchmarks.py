"""The benchmarks' own logic; the figures themselves are not tested, but for those of starting up."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks import __main__ as program
from benchmarks import data
from benchmarks.child import peak_mib
from benchmarks.goal import Goal, summary
from benchmarks.rounds import alternate
from benchmarks.settings import ROOT, Settings, python
from benchmarks.train import newcombe
from edgetl.data import load_dataset
from edgetl.errors import EdgetlError, InputError
from edgetl.quantity import proportion

GOAL = Goal("area", "what", 3.0, "x", "the other", ">=", 2.5, 2.0, 4.0, "min..max")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    work = tmp_path / "work"
    work.mkdir()
    return Settings(None, True, work, lambda text: None)


@pytest.mark.parametrize(
    ("value", "comparison", "threshold", "met", "status"),
    [
        (2.5, ">=", 2.5, True, "met"),
        (2.49, ">=", 2.5, False, "MISSED"),
        (2.5, "<=", 2.5, True, "met"),
        (2.51, "<=", 2.5, False, "MISSED"),
        (None, ">=", 2.5, None, "not measured"),
        (1.0, ">=", None, None, "figure"),
        (float("nan"), ">=", 2.5, False, "MISSED"),
    ],
)
def test_met(value: float, comparison: str, threshold: float, met: bool | None, status: str) -> None:
    goal = replace(GOAL, value=value, comparison=comparison, threshold=threshold)
    assert goal.met is met
    assert goal.status == status


def test_line_has_figure_interval_goal_and_opponent() -> None:
    assert GOAL.line() == (
        "area     met          what: 3 x (2 .. 4, min..max) [goal >= 2.5 x] against the other; "
        "the interval has the goal in it"
    )
    assert "interval has" not in replace(GOAL, low=2.6).line()
    unmeasured = replace(GOAL, value=None, note="not measured in full").line()
    assert "not measured" in unmeasured and unmeasured.endswith("against the other; not measured in full")


def test_line_is_one_line_and_keeps_large_and_small_numbers() -> None:
    line = replace(GOAL, value=0.01234, threshold=12345.6).line()
    assert "0.0123 x" in line and "12346 x" in line and "\n" not in line


def test_summary_counts_the_worst_first() -> None:
    missed = replace(GOAL, value=1.0)
    assert summary([GOAL, missed, GOAL]) == "1 MISSED, 2 met"


def test_exit_status() -> None:
    unmeasured = replace(GOAL, value=None)
    assert program.exit_status([GOAL, unmeasured], {}) == 0
    assert program.exit_status([GOAL, replace(GOAL, value=1.0)], {}) == 1
    assert program.exit_status([GOAL], {"train": "broke"}) == 1


def test_rounds_change_who_comes_first() -> None:
    order: list[str] = []

    def note(name: str, value: float) -> float:
        order.append(name)
        return value

    figures = alternate(lambda: note("ours", 6.0), lambda: note("theirs", 2.0), 3)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert figures.ratio == 3.0 and figures.ratios == [3.0] * 3


def test_newcombe_interval_holds_the_difference_and_none_of_equals_is_sure() -> None:
    difference, low, high = newcombe(proportion(140, 153), proportion(120, 153))
    assert low < difference < high and low > 0
    difference, low, high = newcombe(proportion(140, 153), proportion(140, 153))
    assert difference == 0 and low < 0 < high
    # Newcombe's own example: 56/70 - 48/80 is 20 points, 5.24 to 33.39
    difference, low, high = newcombe(proportion(56, 70), proportion(48, 80))
    assert (difference, low, high) == pytest.approx((20.0, 5.24, 33.39), abs=0.01)


def test_jpegs_differ_in_bytes_but_not_in_pixels(tmp_path: Path) -> None:
    data.distinct_jpegs(tmp_path, 40)
    samples = data.samples_of(tmp_path)
    assert len({sample.digest for sample in samples}) == 40
    first, again = (np.asarray(Image.open(tmp_path / f"{number:06}.jpg")) for number in (0, 16))
    assert first.shape == (64, 64, 3) and np.array_equal(first, again)


def test_comment_is_a_valid_segment() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    assert Image.open(io.BytesIO(data.with_comment(buffer.getvalue(), b"no 7"))).info["comment"] == b"no 7"
    with pytest.raises(ValueError, match="not a JPEG"):
        data.with_comment(b"GIF89a", b"")


def test_crops_are_the_same_each_time() -> None:
    first, again = ([crop.tobytes() for crop in islice(data.crops(0, seed=1), 3)] for _ in range(2))
    assert first == again and len(set(first)) == 3


def test_photographs_are_397_in_two_classes(settings: Settings) -> None:
    folder, description = data.photographs(settings)
    dataset = load_dataset(folder)
    assert (len(dataset.train), len(dataset.val), len(dataset.classes)) == (244, 153, 2)
    assert "sample photographs" in description


def test_photographs_of_the_user_are_a_pair_of_classes(settings: Settings, tmp_path: Path) -> None:
    images = tmp_path / "mine"
    for name in ("ant", "cat", "dog"):
        data.distinct_jpegs(images / name, 199)
        for path in (images / name).iterdir():  # other bytes than those of the other classes
            path.write_bytes(data.with_comment(path.read_bytes(), name.encode()))
    folder, description = data.photographs(replace(settings, images=images))
    dataset = load_dataset(folder)
    assert dataset.classes == ("cat", "dog") and len(dataset.train) + len(dataset.val) == 397
    assert description == "397 photographs, cat and dog of mine"


def test_too_few_photographs_are_refused(settings: Settings, image_folder: Path) -> None:
    with pytest.raises(InputError, match="two classes of 199 images"):
        data.photographs(replace(settings, images=image_folder))


def test_a_childs_peak_is_not_its_parents() -> None:
    ballast = bytearray(300 << 20)
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])
    child = float(python(["-c", "from benchmarks.child import peak_mib; print(peak_mib())"]))
    assert peak_mib() > 300 > child


def test_failing_child_is_one_line() -> None:
    with pytest.raises(EdgetlError, match="boom") as caught:
        python(["-c", "raise ValueError('boom')"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [["nonsense"], ["--images", "no/such/folder"], ["--nonsense"]])
def test_bad_usage_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(program.main, arguments).exit_code == 2


def test_a_missed_goal_exits_with_1_and_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = replace(GOAL, value=1.0)
    out = tmp_path / "results.json"
    result = _invoke(monkeypatch, [missed, GOAL], ["startup", "--json", str(out)])
    assert result.exit_code == 1
    assert missed.line() in result.stdout and "1 MISSED, 1 met" in result.stdout
    document = json.loads(out.read_text())
    assert [goal["met"] for goal in document["goals"]] == [False, True]
    assert document["environment"]["cpu"] and document["failures"] == {}


def test_a_failing_area_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def measure(name: str, settings: Settings) -> Iterator[Goal]:
        seen.append(name)
        yield replace(GOAL, area=name)
        if name == "features":
            raise EdgetlError("no engine")

    monkeypatch.setattr(program, "_measure", measure)
    result = CliRunner().invoke(program.main, [])
    assert result.exit_code == 1 and "no engine" in result.stdout
    assert seen == list(program.AREAS)


def test_startup_for_real(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "startup", "--quick", "--json", str(out)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    goals = json.loads(out.read_text())["goals"]
    assert [goal["area"] for goal in goals] == ["startup"] * 3
    assert done.returncode == (1 if any(goal["met"] is False for goal in goals) else 0)
    assert goals[2]["value"] == 0, goals[2]["note"]
    assert done.stdout.startswith("machine: ")


def _invoke(monkeypatch: pytest.MonkeyPatch, goals: list[Goal], arguments: list[str]):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(program, "_measure", lambda name, settings: iter(goals))
    return CliRunner().invoke(program.main, arguments)
