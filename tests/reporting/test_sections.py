from __future__ import annotations

import base64
import copy
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgetl.reporting.html import page

Document = dict[str, Any]
MakeResults = Callable[..., Document]


def figures(text: str) -> dict[str, Document]:
    blocks = re.findall(r'<script type="application/json" id="figure-([\w-]+)">(.*?)</script>', text, re.S)
    return {name: json.loads(block) for name, block in blocks}


@pytest.fixture
def dataset(sample: Document, tmp_path: Path) -> Path:
    """The images whose prediction changed on the first engine, as files."""
    pixels = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    for change in sample["engines"][0]["changed"]:
        path = tmp_path / "images" / change["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, "JPEG")
    return tmp_path / "images"


def test_every_engine_and_reference_is_in_the_summary(sample: Document) -> None:
    text = page(sample)
    summary = text.split('id="summary"')[1].split("</section>")[0]
    for made in sample["engines"]:
        assert made["target"] in summary
    assert summary.count(">FP32 ") == 2
    assert "96.9\u00a0%" in summary
    assert "94.7–98.2" in summary
    assert "n = 413" in summary


def test_error_stands_in_the_place_of_the_numbers(sample: Document) -> None:
    row = page(sample).split('<th scope="row">jetson-agx')[1].split("</tr>")[0]
    assert "Could not be made: TensorRT is not installed" in row
    assert row.count("<td") == 1


def test_what_was_not_measured_is_never_zero(sample: Document) -> None:
    text = page(sample)
    row = text.split('<th scope="row">hailo-8')[1].split("</tr>")[0]
    assert row.count("not measured") == 5
    assert not re.search(r">0(\.0*)?<", row)
    mixed = text.split('<th scope="row">x86-mixed')[1].split("</tr>")[0]
    assert "n too small" in mixed


def test_kinds_other_than_measured_are_marked(sample: Document) -> None:
    text = page(sample)
    simulated = text.split('<th scope="row">orin-nano')[1].split("</tr>")[0]
    assert simulated.count('class="kind"') == 6
    assert ">simulated</abbr>" in simulated
    measured = text.split('<th scope="row">x86-vnni<')[1].split("</tr>")[0]
    assert 'class="kind"' not in measured
    names = [trace["name"] for trace in figures(text)["trade-off"]["data"]]
    assert "orin-nano (estimated, simulated)" in names


def test_figures_are_valid_plotly(sample: Document) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    drawn = figures(page(sample))
    assert set(drawn) == {"trade-off", "latency", "confusion", "refit"}
    for figure in drawn.values():
        graph_objects.Figure(figure)


def test_confusion_cells_are_the_counts(sample: Document) -> None:
    data = figures(page(sample))["confusion"]["data"]
    assert [trace["visible"] for trace in data[:4]] == [True, True, False, False]
    assert len(data) == 2 * 7
    seen = {
        (y, x): int(t)
        for trace in data[:2]
        for y, x, t in zip(trace["y"], trace["x"], trace["text"], strict=True)
        if t
    }
    grid = sample["fp32"]["confusion"]
    assert seen == {
        (str(i), str(j)): n for i, row in enumerate(grid) for j, n in enumerate(row) if n or i == j
    }


def test_two_classes_and_wrong_matrix(make_results: MakeResults) -> None:
    results = make_results(classes=3)
    results["engines"][0]["confusion"] = [[1, 2], [3, 4]]
    assert len(figures(page(results))["confusion"]["data"]) == 2 * 6
    assert "confusion" in figures(page(make_results(classes=3)))


def test_latency_axis_is_logarithmic_only_for_wide_ranges(sample: Document) -> None:
    assert figures(page(sample))["trade-off"]["layout"]["xaxis"]["type"] == "log"
    narrow = copy.deepcopy(sample)
    narrow["engines"] = narrow["engines"][:1]
    assert figures(page(narrow))["trade-off"]["layout"]["xaxis"]["type"] == "linear"


def test_thumbnails_are_embedded_and_missing_ones_said(sample: Document, dataset: Path) -> None:
    only = {**sample, "engines": sample["engines"][:1]}
    text = page(only, dataset)
    sources = re.findall(r'<img src="([^"]+)" alt="[^"]+, truth \d">', text)
    assert len(sources) == len(only["engines"][0]["changed"])
    for source in sources:
        picture = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        assert picture.format == "JPEG"
        assert max(picture.size) == 96
    next(dataset.rglob("*.JPG")).unlink()
    assert "1 picture could not be read" in page(only, dataset)
    without = page(only)
    assert "<img" not in without
    assert "no image folder was given" in without


def test_at_most_48_pictures_and_the_rest_counted(sample: Document) -> None:
    text = page(sample)
    assert text.count('<li class="picture ') == 48
    total = sum(len(made.get("changed") or []) for made in sample["engines"])
    rest = [int(n) for n in re.findall(r"And (\d+) more images?, not shown", text)]
    assert 48 + sum(rest) == total


def test_every_skipped_file_is_listed(make_results: MakeResults) -> None:
    results = make_results()
    results["skipped"] = [{"path": f"3/{i}.jpg", "reason": "truncated"} for i in range(150)]
    words = page(results)
    assert all(f"3/{i}.jpg" in words for i in range(150))
    assert "150 files were skipped" in words


def test_engine_builds_are_told(make_results: MakeResults) -> None:
    results = make_results()
    assert "Engine builds" not in page(results)
    command = "tensorrt_rtx --onnx=model.onnx --saveEngine=model.engine --computeCapabilities=8.6,8.9"
    results["engines"][0]["layers"] = {
        "arithmetic": {"int8": 50, "f16": 0},
        "by_kind": {"correlation": 49, "kgen": 51},
        "reformats": 2,
        "findings": ["16 depthwise convolutions are padded: 7.6 MB of zeros <b>"],
        "build_command": command,
    }
    results["engines"][5] |= {
        "state": "plan",
        "layers": {"asked_int8": 50, "of_products": 51, "checks": ["the parser takes every node"]},
    }
    text = page(results)
    part = text.split(">Engine builds<")[1].split("</section>")[0]
    built, plan = part.split("<h4>")[1:]
    for words in ("50 int8<", "49 correlation, 51 kgen", ">2<", "7.6 MB of zeros &lt;b&gt;", "built"):
        assert words in built
    assert f"<code>{command}</code>" in built and "0 f16" not in built
    for words in ("hailo-8", "a plan: the engine is built on its device", "50 of 51", "takes every node"):
        assert words in plan
    assert "<code>" not in plan
    summary = text.split('id="summary"')[1].split("</section>")[0]
    assert "int8 (plan)" in summary


def test_engine_builds_survive_any_null(make_results: MakeResults) -> None:
    results = make_results()
    full = {
        "arithmetic": {"int8": 1},
        "by_kind": {"gemm": None},
        "reformats": 0,
        "findings": [None],
        "build_command": "trtexec",
        "checks": None,
    }
    for name in full:
        results["engines"][0]["layers"] = {**full, name: None}
        assert "Engine builds" in page(results)


def analysis(*own: float) -> Document:
    def cosine(value: float) -> Document:
        return {"value": value, "low": None, "high": None, "n": 1, "kind": "simulated"}

    layers = [
        {"name": f"conv<{i}>", "op": "Conv", "single": cosine(value), "entire": cosine(value - 0.01)}
        for i, value in enumerate(own)
    ]
    return {"source": "Toolkit 2", "note": "of a twin", "twin_cosine": cosine(0.998), "layers": layers}


def test_the_layers_that_lose_most_are_named_first(sample: Document) -> None:
    assert 'id="errors"' not in page(sample), "no toolchain told anything"
    made = sample["engines"][0]
    made["error_analysis"] = analysis(0.9999, 0.91, 0.999)
    text = page(sample)
    section = text.split('id="errors"')[1].split("</section>")[0]
    assert section.index("Conv conv&lt;1&gt;</th>") < section.index("Conv conv&lt;2&gt;</th>")
    assert "Toolkit 2: of a twin" in section and "0.99800" in section and section.count(">simulated<") == 7
    accumulated, own = figures(text)["errors"]["data"]
    assert own["y"] == pytest.approx([1e-4, 0.09, 1e-3])
    assert accumulated["y"] == pytest.approx([0.0101, 0.1, 0.011])
    assert f"{made['target']}: worst Conv conv&lt;1&gt; at 0.91000" in section


def test_an_analysis_that_failed_says_why(sample: Document) -> None:
    sample["engines"][0]["error_analysis"] = {"source": "rknn", "note": "failed: it was killed", "layers": []}
    text = page(sample)
    assert "failed: it was killed" in text and "errors" not in figures(text)
