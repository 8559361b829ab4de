from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import InputError, MissingDependencyError
from edgetl.reporting import write_report
from edgetl.reporting.html import page
from edgetl.reporting.plots import plotly_js

Document = dict[str, Any]
MakeResults = Callable[..., Document]


class Elements(HTMLParser):
    """The tags of a page with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.words.append(data)

    def text(self) -> str:
        return " ".join(self.words)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def own_part(text: str) -> str:
    return text.replace(plotly_js(), "")


def parsed(results: Document) -> Elements:
    return Elements(own_part(page(results)))


def figures(text: str) -> dict[str, Document]:
    blocks = re.findall(r'<script type="application/json" id="figure-([\w-]+)">(.*?)</script>', text, re.S)
    return {name: json.loads(block) for name, block in blocks}


def test_page_loads_nothing_and_may_load_nothing(sample: Document, tmp_path: Path) -> None:
    path = write_report(sample, tmp_path / "deep" / "report.html")
    text = path.read_text(encoding="utf-8")
    elements = Elements(own_part(text))
    for _, attributes in elements.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), value
    assert not elements.named("link")
    assert "url(" not in own_part(text)
    assert "@import" not in own_part(text)
    policy = next(
        m["content"] for m in elements.named("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert text.count(plotly_js()) == 1
    assert path.stat().st_size - len(plotly_js().encode()) < 600_000


def test_hundred_classes_stay_small(make_results: MakeResults) -> None:
    text = page(make_results(classes=100))
    assert len(own_part(text).encode()) < 600_000
    assert len(figures(text)["confusion"]["layout"]["xaxis"]["tickvals"]) <= 40


def test_user_text_is_inert(make_results: MakeResults) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    results = make_results()
    results["dataset"]["classes"][0] = evil
    results["dataset"]["root"] = f"/data/{evil}\u202e"
    results["engines"][0] |= {
        "target": evil,
        "changed": [{"path": evil, "label": evil, "before": evil, "after": "1"}],
    }
    results["engines"][6]["error"] = f"{evil}\n\x1b[31m"
    results["fp32"]["per_class"][0]["label"] = evil
    results["skipped"].append({"path": evil + "\udcff", "reason": evil})
    results["environment"]["warnings"].append(evil)
    text = page(results)
    elements = Elements(own_part(text))
    executable = [s for s in elements.named("script") if s.get("type") != "application/json"]
    assert len(executable) == 2
    assert not any("onerror" in attributes for _, attributes in elements.tags)
    assert evil in elements.text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    confusion_figure = figures(text)["confusion"]
    assert confusion_figure["data"][0]["x"][0].startswith("&lt;/script&gt;")
    text.encode("utf-8")


def test_written_whole_or_not_at_all(sample: Document, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = copy.deepcopy(sample)
    broken["schema"] = "something/2"
    with pytest.raises(InputError, match="not a results document"):
        write_report(broken, path)
    assert path.read_text() == "old"
    assert write_report(sample, path) == path
    first = path.read_bytes()
    write_report(sample, path)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_unwritable_path_is_one_line(sample: Document, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "report.html", tmp_path):
        with pytest.raises(InputError, match="cannot write the report to") as caught:
            write_report(sample, path)
        assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_without_plotly_the_extra_is_named(
    sample: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingDependencyError, match=r"edgetl\[report\]"):
        write_report(sample, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_accessible_structure(sample: Document) -> None:
    elements = parsed(sample)
    headings = [int(tag[1]) for tag, _ in elements.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))
    plots = [d for d in elements.named("div") if d.get("class") == "plot"]
    assert len(plots) == 4
    assert all(d.get("role") == "img" and len(str(d.get("aria-label"))) > 40 for d in plots)
    targets = {str(a["href"])[1:] for a in elements.named("a")}
    assert targets == {str(s["id"]) for s in elements.named("section")}


def test_bare_document_is_enough(make_results: MakeResults) -> None:
    text = page({"schema": "edgetl.results/1"})
    assert "No engine is in this document." in text
    assert not figures(text)
    nulls = dict.fromkeys(make_results(), None) | {"schema": "edgetl.results/1"}
    assert "What was not measured" in page(nulls)


def test_any_field_may_be_null(sample: Document) -> None:
    for name in sample["engines"][0]:
        results = {**sample, "engines": [{**sample["engines"][0], name: None}]}
        assert "NaN" not in own_part(page(results))
    for part in ("environment", "dataset", "fp32", "train", "export", "contract_value"):
        for name in sample[part]:
            page({**sample, part: {**sample[part], name: None}})
