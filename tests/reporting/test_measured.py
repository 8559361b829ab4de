"""What a bench measures besides accuracy and latency, as the page tells it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edgetl.reporting.html import page
from edgetl.reporting.plots import plotly_js
from edgetl.reporting.verdict import gaps, verdict
from tests.reporting.conftest import LAYERS, Document, q
from tests.reporting.test_html import Elements, figures

MakeBench = Callable[..., Document]
SECTIONS = ("device", "scenarios", "endurance", "energy", "reconciliation", "placement", "roofline")


def part(text: str, name: str) -> str:
    """A section's words; empty where it was left out."""
    _, _, rest = text.partition(f'<section id="{name}">' if f'<section id="{name}">' in text else "\0")
    found = rest.partition("</section>")[0]
    return re.sub(r"\s+", " ", Elements(found).text().replace("\u00a0", " "))


def test_sections_are_there_where_something_was_measured(sample: Document, make_bench: MakeBench) -> None:
    text = page(make_bench(("orin", "rpi5")))
    assert all(part(text, name) for name in SECTIONS)
    here = page(make_bench())
    assert [name for name in SECTIONS if not part(here, name)] == ["device"]
    plain = page(sample)
    assert [name for name in SECTIONS if part(plain, name)] == ["placement"]
    targets = {str(a["href"])[1:] for a in Elements(text).named("a")}
    assert targets == {str(s["id"]) for s in Elements(text).named("section")}


def test_figures_are_valid_plotly(make_bench: MakeBench) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    for on in ((), ("orin", "rpi5")):
        drawn = figures(page(make_bench(on)))
        assert {"endurance", "placement", "roofline"} <= set(drawn)
        for figure in drawn.values():
            graph_objects.Figure(figure)


def test_from_host_to_device(make_bench: MakeBench) -> None:
    words = part(page(make_bench(("orin", "rpi5"))), "device")
    for told in ("97.1 %", "96.9 %", "0.24", "−0.60 to 1.10", "0.48", "99.0 %", "0.31", "0.02"):
        assert told in words, told
    assert "the same engine" in words and "busy: load 3 on orin" in words
    assert words.count("Environment of") == 2 and words.count("AMD EPYC 9B14") == 2


def test_a_device_on_which_all_failed(make_bench: MakeBench) -> None:
    results = make_bench(("orin", "rpi5"))
    results["engines"][1] |= {"error": "the connection was lost", "device": {"name": "rpi5"}}
    text = page(results)
    assert "Could not be measured: the connection was lost" in text
    assert "x86-vnni on rpi5 could not be measured." in verdict(results)
    assert "rpi5" not in part(text, "device")
    results["engines"][0] |= {"error": "no route", "device": {"name": "orin"}}
    assert verdict(results).startswith("No engine could be measured.")


def test_ways_to_run(make_bench: MakeBench) -> None:
    words = part(page(make_bench()), "scenarios")
    for told in (
        "8 samples a query",
        "64 pictures",
        "1.40×",
        "13.3",
        "n too small",
        "none of these is an MLPerf",
    ):
        assert told in words, told
    assert "multi-stream: not steady: p50 was 9 ms, then 12" in words
    assert "on processors 0, 1: 2 of 4" in words and "2 threads held to one processor" in words
    single, multi, offline = (
        words.index(name) for name in ("Single-stream 1", "Multi-stream 8", "Offline all")
    )
    assert single < multi < offline < words.index("Engine only the") < words.index("Cold start Import")


def test_endurance(make_bench: MakeBench) -> None:
    text = page(make_bench(("orin", "rpi5")))
    words = part(text, "endurance")
    assert (
        "throttled: clock fell from 2400 to 1800 MHz at 2.5 min" in words and "1.30× 1.28–1.32 yes" in words
    )
    assert "not known slower at 2.5 min" in words and "this machine tells no clock" in words
    drawn = figures(text)["endurance"]
    assert [trace.get("yaxis", "y") for trace in drawn["data"]] == ["y", "y2", "y3", "y"]
    assert drawn["data"][0]["x"][-1] == pytest.approx(119 * 2.5 / 60, abs=1e-3)
    assert max(drawn["data"][2]["y"]) == 84
    cool = make_bench(("orin", "rpi5"))
    cool["engines"] = cool["engines"][1:]
    assert not {"yaxis2", "yaxis3"} & figures(page(cool))["endurance"]["layout"].keys()


def test_energy_or_why_there_is_none(make_bench: MakeBench) -> None:
    words = part(page(make_bench(("orin", "rpi5"))), "energy")
    for told in ("17.8", "17.5–18.1", "0.0421", "0.0322", "rest of the machine", "moves once a millisecond"):
        assert told in words, told
    assert "Absent for x86-vnni on orin: NVML: absent: no NVIDIA driver" in words
    assert "No sensor tells the energy of x86-vnni on rpi5. RAPL: absent: a virtual machine" in words


def test_reconciliation(make_bench: MakeBench) -> None:
    words = part(page(make_bench()), "reconciliation")
    assert "1.02× 1.00–1.04" in words and "benchmark_app 2026.4.1" in words
    assert "benchmark_app -m engine/model.xml -d CPU -hint latency" in words
    assert "this process used 30% of a core" in words


def test_turns_with_another_bundle(make_bench: MakeBench) -> None:
    results = make_bench(("orin", "rpi5"))
    assert 'id="turns"' not in page(results)
    ratio = {"value": 1.051, "low": 1.043, "high": 1.06, "n": 10, "kind": "measured"}
    results["engines"][1]["against"] = {"ratio": ratio, "bundle": "old/<b>", "target": "x86-vnni"}
    text = page(results)
    words = part(text, "turns")
    assert "x86-vnni on rpi5" in words and "x86-vnni on orin" not in words
    assert "1.05× 1.04–1.06" in words and "old/<b>" not in text


def test_the_slowest_layers_in_order_coloured_by_precision(make_bench: MakeBench) -> None:
    results = make_bench(("orin", "rpi5"))
    text = page(results)
    data = figures(text)["placement"]["data"]
    bars, *legend = [trace for trace in data if trace["meta"] == 0]
    assert bars["y"][-1] == "node_Conv_0/WithoutBiases" and len(bars["y"]) == 15 < LAYERS
    assert bars["x"] == sorted(bars["x"]) and bars["text"][-1].replace("\u00a0", " ") == "0.434 ms, 10.5 %"
    colours = {trace["name"]: trace["marker"]["color"] for trace in legend}
    assert set(colours) == {"int8", "f32"}
    assert bars["marker"]["color"][-1] == colours["f32"] != colours["int8"] == bars["marker"]["color"][-2]
    assert [trace["visible"] for trace in data] == [trace["meta"] == 0 for trace in data]
    for figure in ("placement", "roofline"):
        assert f'data-switches="plot-{figure}"' in text
    assert 'data-switches="plot-placement"' not in page(make_bench())


def test_layers_on_several_devices_are_coloured_by_device(make_bench: MakeBench) -> None:
    results = make_bench()
    results["engines"][0]["layer_times"][0]["device"] = "NPU"
    told = {"device": "NPU", "share_of_nodes": 0.056, "share_of_time": 0.105, "elsewhere": ["a<b>", "c"]}
    results["engines"][0]["placement"] = told
    text = page(results)
    names = {trace.get("name") for trace in figures(text)["placement"]["data"]}
    assert {"CPU", "NPU"} <= names and "int8" not in names
    assert "5.6 % 10.5 % NPU a<b>, c" in part(text, "placement")


def test_layers_of_one_name_stay_apart(make_bench: MakeBench) -> None:
    results = make_bench()
    for layer in results["engines"][0]["layer_times"]:
        layer["name"] = "a_very_long_name_of_a_fused_kernel_that_says_nothing_at_all"
    bars = figures(page(results))["placement"]["data"][0]
    assert len(set(bars["y"])) == 15 and all(len(name) < 50 for name in bars["y"])


def test_roofline_tells_share_and_layers(make_bench: MakeBench) -> None:
    text = page(make_bench())
    words = part(text, "roofline")
    sentence = (
        "This engine runs at 41.0 % (estimated) of what its device can do; the three layers that lose most "
        "are node_Conv_0, node_Conv_1 and node_Conv_3."
    )
    assert sentence in words and "probed on it" in words
    assert "not among the layers that the engine reports: edgetl/head" in words
    data = figures(text)["roofline"]["data"]
    lines = {trace["name"].replace("\u00a0", " "): trace for trace in data if trace["mode"] == "lines"}
    assert list(lines) == [
        *("INT8 peak, 0.400 TOPS", "float peak, 0.100 TOPS", "memory, 20.0 GB/s"),
        *("cache of 8 MiB, 60.0 GB/s", "cache of 2 MiB, 85.0 GB/s"),  # one of 512 KiB is no faster
    ]
    memory = lines["memory, 20.0 GB/s"]
    assert [y / x for x, y in zip(memory["x"], memory["y"], strict=True)] == pytest.approx([20, 20])
    assert memory["y"][-1] == lines["INT8 peak, 0.400 TOPS"]["y"][0] == 400
    points = [trace for trace in data if trace["mode"] == "markers"]
    assert sum(len(trace["x"]) for trace in points) == LAYERS - 2  # one does not compute, one has no time
    first = next(trace for trace in points if "memory" in trace["name"])
    assert first["x"][0] == pytest.approx(2e6 / 720_000, rel=1e-3)
    assert first["y"][0] == pytest.approx(2e6 / (2.41 * 0.18e-3) / 1e9, rel=1e-3)


def test_roofline_without_a_peak(make_bench: MakeBench) -> None:
    results = make_bench()
    engine = results["engines"][0]
    engine["roofline"] = {"reason": "this machine's peak is not known: edgetl device probe measures it"}
    text = page(results)
    words = part(text, "roofline")
    assert "Not known: this machine's peak is not known: edgetl device probe measures it." in words
    assert "roofline" not in figures(text) and "%" not in words
    whole = make_bench()["engines"][0]["roofline"]
    nothing = dict.fromkeys(("tops", "float_tops", "bandwidth_gbps")) | {"source": "a data sheet"}
    engine["roofline"] = whole | {"peak": nothing, "bound_ms": None, "share_of_device": None}
    text = page(results)
    assert "The three layers that lose most are" in part(text, "roofline")
    assert all(trace["mode"] == "markers" for trace in figures(text)["roofline"]["data"])


def test_figures_from_a_data_sheet_are_estimates(make_bench: MakeBench) -> None:
    results = make_bench()
    before = part(page(results), "roofline").count("estimated")
    results["engines"][0]["roofline"]["peak"]["kind"] = "estimated"
    assert part(page(results), "roofline").count("estimated") == before + 3


def test_user_text_is_inert(make_bench: MakeBench) -> None:
    evil = "</script><img src=x onerror=alert(2)>"
    results = make_bench(("orin",))
    engine = results["engines"][0]
    engine["device"]["name"] = engine["device"]["host"]["by"] = evil
    engine["layer_times"][0] |= {"name": evil, "op": evil, "precision": evil}
    engine["roofline"]["layers"][0]["name"] = engine["roofline"]["notes"][0] = evil
    engine["energy"]["sensors"][0]["covers"] = engine["energy"]["absent"][0] = evil
    engine["reconciliation"]["command"] = engine["not_measured"][0] = evil
    engine["sustained"]["changes"][0]["text"] = engine["placement"]["elsewhere"] = [evil]
    elements = Elements(page(results).replace(plotly_js(), ""))
    assert not any("onerror" in attributes for _, attributes in elements.tags)
    assert len([s for s in elements.named("script") if s.get("type") != "application/json"]) == 2


def nulled(value: Any, put: Callable[[Any], None]) -> Iterator[None]:
    """One field after the other of a nested value, replaced by null while the caller looks."""
    places = list(value) if isinstance(value, dict) else range(min(2, len(value)))
    for place in places:
        kept = value[place]
        value[place] = None
        put(None)
        yield
        value[place] = kept
        if isinstance(kept, (dict, list)) and kept:
            yield from nulled(kept, put)


def test_any_field_may_be_null(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetl.reporting.html.plotly_js", lambda: "")  # 4 MB to hash, a page
    results = make_bench(("orin",))
    engine = results["engines"][0]
    engine["latency_samples_ms"] = engine["latency_samples_ms"][:20]
    engine["sustained"]["windows"] = engine["sustained"]["windows"][:3]
    for name in ("per_class", "confusion"):
        engine[name] = None
    tried = 0
    fields = ("layer_times", "roofline", "cold_start", "multi_stream", "end_to_end", "energy", "sustained")
    chosen = {name: engine[name] for name in (*fields, "reconciliation", "threads", "placement", "device")}
    for _ in nulled(chosen, lambda _: engine.update(chosen)):
        assert "NaN" not in page(results)
        tried += 1
    assert tried > 300


def test_first_sentences_of_a_bench(make_bench: MakeBench) -> None:
    words = verdict(make_bench()).replace("\u00a0", " ")
    assert words.startswith(
        "The engine is x86-vnni (openvino, int8). Its accuracy is 96.9 % (94.7–98.2) on 413"
    )
    assert "FP32" not in words and "drop" not in words and "gate" not in words
    assert "It runs at 41.0 % (estimated) of what its device can do." in words
    assert "Its latency needs care: bimodal: 50% of runs near 3.4 ms, 50% near 7.0 ms." in words
    assert "It was throttled: it ended at 1.30× (1.28–1.32) its first latency." in words
    on = verdict(make_bench(("orin", "rpi5"))).replace("\u00a0", " ")
    assert "The fastest engine (no gate was set) is x86-vnni on orin (openvino, int8)." in on
    assert "Host and device predict the same class for 99.0 % (97.5–99.6) of the images." in on


def test_a_bench_without_images(make_bench: MakeBench) -> None:
    results = make_bench(("orin",))
    results["dataset"] |= {"root": ".", "test": 0, "val": 0, "train": 0, "per_class": {}, "held_out": "test"}
    engine = results["engines"][0]
    engine |= dict.fromkeys(("accuracy", "per_class", "confusion"))
    names = ("accuracy", "drop_points", "agreement", "max_abs", "mean_abs")
    engine["device"]["host"] = dict.fromkeys(names) | {"by": "no images were given"}
    words = verdict(results).replace("\u00a0", " ")
    assert words.startswith("The engine is x86-vnni on orin (openvino, int8). Its median latency is 2.4")
    assert "There is no accuracy of x86-vnni on orin." in words
    text = page(results)
    assert "No images: deployment report" in text
    assert "no images were given" in part(text, "device")


def test_gaps_of_a_bench(make_bench: MakeBench) -> None:
    lines = gaps(make_bench())
    assert "The float model, and so drop, agreement with it and speed-up." in lines
    assert "x86-vnni: sustained: it was interrupted." in lines
    assert not any(
        "parity" in line or "agreement with FP32" in line or "cold start" in line for line in lines
    )


def test_what_a_bench_cannot_know_is_not_claimed(make_bench: MakeBench) -> None:
    text = page(make_bench())
    assert "No head was fitted again" not in text and "No prediction changed" not in text
    assert "Predictions were not compared with FP32" in text
    assert "1651 images were left out: the bundle was trained on them" in text
    assert "bimodal: 50% of runs" in part(text, "latency")


def test_an_engine_of_a_run_keeps_its_own_figures(sample: Document, make_bench: MakeBench) -> None:
    """A run's engines, of which one has the new fields."""
    told = make_bench()["engines"][0]
    results = copy.deepcopy(sample)
    results["engines"][0] |= {name: told[name] for name in ("roofline", "layer_times", "cold_start")}
    text = page(results)
    assert part(text, "scenarios").count("Cold start Import") == 1
    assert "x86-vnni-ort" not in part(text, "roofline")
    results["engines"][0]["cold_start"]["load_ms"] = q(77.0, kind="simulated")
    assert "77.0" in part(page(results), "scenarios")
