"""Verdicts over two results documents, and that they are wrong no more often than their intervals say."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.cli.compare import Baseline, command
from edgetl.comparing import Comparison, Settings, compare
from edgetl.comparing.intervals import at, difference, joint, ratio, widened
from edgetl.errors import InputError
from edgetl.quantity import Quantity, proportion, student_t
from edgetl.reporting.junit import comparison_junit
from edgetl.reporting.markdown import comparison_markdown

Document = dict[str, Any]
TRIALS = 2000


def q(value: float, spread: float | None = None, n: int = 800, kind: str = "measured") -> Document:
    """A quantity whose interval reaches ``spread`` (relative) up and down."""
    low, high = (None, None) if spread is None else (value / (1 + spread), value * (1 + spread))
    return {"value": value, "low": low, "high": high, "n": n, "kind": kind}


def engine(p50: float = 2.0, right: int = 390, **more: Any) -> Document:
    return {
        "target": "x86-vnni",
        "backend": "openvino",
        "precision": "int8",
        "precision_detail": {"asked": "int8", "used": "int8", "executed": {"int8": 49, "f32": 1}},
        "state": "built",
        "size_bytes": 4_582_845,
        "accuracy": proportion(right, 411).to_dict(),
        "latency_ms": {"p50": q(p50, 0.01), "p90": q(1.1 * p50, 0.03), "p99": q(1.6 * p50, 0.2)},
        "latency_notes": [],
        "throughput_per_s": q(1000 / p50, 0.03),
        "placement": {"device": "CPU", "share_of_nodes": 1.0, "share_of_time": 1.0, "elsewhere": []},
        "mistakes": wrong(range(411 - right)),
        "gate": "passed",
        "gate_reasons": [],
        "error": None,
    } | more


def document(*engines: Document, **more: Any) -> Document:
    return {
        "schema": "edgetl.results/1",
        "edgetl": "0.1.0",
        "contract": "9c" * 32,
        "environment": {
            "cpu": {"model": "AMD EPYC", "usable": 2, "isa": ["avx2"]},
            "machine": "x86_64",
            "gpus": [],
            "versions": {"openvino": "2026.4.1", "onnxruntime": "1.31.1"},
        },
        "dataset": {"held_out_digest": "8e" * 32},
        "train": {"backbone": "lite0", "seed": 0, "seconds": {"features": 1.0}},
        "fp32": {"accuracy": proportion(391, 411).to_dict(), "confusion": [[200, 10], [10, 191]]},
        "engines": list(engines) or [engine()],
    } | more


def with_reference(own: Document, p50: float, speedup: float, spread: float = 0.01) -> Document:
    """A document whose engine was timed in turns with a float engine of ``p50`` milliseconds."""
    reference = {"backend": "openvino", "precision": "f32", "size_bytes": 13_843_104}
    reference |= {"latency_ms": {"p50": q(p50, 0.01)}}
    made = document({**own, "speedups": {"fp32-openvino": q(speedup, spread, 8)}})
    made["fp32"]["engines"] = [reference]
    return made


def verdicts(comparison: Comparison, name: str = "x86-vnni") -> dict[str, str]:
    [found] = [item for item in comparison.engines if item.name == name]
    return {check.name: check.verdict for check in found.checks}


def why(comparison: Comparison, name: str) -> str:
    return next(c.why for item in comparison.engines for c in item.checks if c.name == name)


STEADY = Settings(noise=0.002)
"""A machine of which one run tells nearly all."""


def test_the_same_document_has_no_regression() -> None:
    comparison = compare(document(), document(), STEADY)
    assert comparison.status == 0
    assert Counter(verdicts(comparison).values())["regression"] == 0
    assert verdicts(comparison)["p50 latency"] == "no change"
    assert verdicts(comparison)["accuracy"] == "no change"


def test_slower_beyond_the_intervals_is_a_regression_and_faster_an_improvement() -> None:
    slower = compare(document(), document(engine(2.4)), STEADY)
    assert verdicts(slower)["p50 latency"] == "regression"
    assert verdicts(slower)["throughput"] == "regression"
    assert slower.status == 1
    faster = compare(document(engine(2.4)), document(), STEADY)
    assert verdicts(faster)["p50 latency"] == verdicts(faster)["throughput"] == "improvement"
    assert faster.status == 0


def test_a_tolerated_slow_down_is_no_regression() -> None:
    settings = Settings(tolerance=0.3, noise=0.002)
    comparison = compare(document(), document(engine(2.4)), settings)
    assert verdicts(comparison)["p50 latency"] == "no change"
    assert comparison.status == 0


def test_noise_between_runs_keeps_a_small_difference_undecided() -> None:
    comparison = compare(document(), document(engine(2.12)), Settings(noise=0.05))
    assert verdicts(comparison)["p50 latency"] == "undecided"
    assert comparison.status == 0
    strict = Settings(noise=0.05, strict=True)
    assert compare(document(), document(engine(2.12)), strict).status == 1


def test_a_slower_machine_is_told_by_the_float_engine_and_blames_no_engine() -> None:
    base, new = with_reference(engine(2.0), 6.0, 3.0), with_reference(engine(2.6), 7.8, 3.0)
    found = compare(base, new, STEADY)
    assert verdicts(found)["p50 latency"] == "no change"
    assert verdicts(found)["throughput"] == "undecided"
    assert "fp32-openvino itself took 1.30 times as long" in why(found, "throughput")


def test_a_slower_engine_is_found_on_a_slower_machine() -> None:
    base, new = with_reference(engine(2.0), 6.0, 3.0), with_reference(engine(2.86), 7.8, 2.72)
    found = compare(base, new, STEADY)
    assert verdicts(found)["p50 latency"] == "regression"
    assert "in turns with fp32-openvino" in why(found, "p50 latency")


def test_another_float_model_is_no_reference() -> None:
    base, new = with_reference(engine(2.0), 6.0, 3.0), with_reference(engine(2.0), 12.0, 6.0)
    new["fp32"]["engines"][0]["size_bytes"] *= 2
    assert verdicts(compare(base, new, STEADY))["p50 latency"] == "no change"


def test_turns_with_the_very_engine_count_before_all_else() -> None:
    base = document(engine(2.0, digest="ab"))
    base["environment"]["versions"]["openvino"] = "2025.1"
    against = {"digest": "ab", "ratio": q(1.05, 0.01, 80)}
    slower = document(engine(1.8, against=against))
    found = compare(base, slower, STEADY)
    assert verdicts(found)["p50 latency"] == "regression"
    assert verdicts(found)["p90 latency"] == "not comparable"  # the runtime is another
    against["digest"] = "cd"
    assert verdicts(compare(base, slower, STEADY))["p50 latency"] == "not comparable"


def test_turns_do_not_hide_what_else_became_worse() -> None:
    base = document(engine(2.0, digest="ab"))
    worse = {"latency_ms": {"p50": q(2.0, 0.01), "p90": q(2.2, 0.03), "p99": q(40.0, 0.2)}}
    worse |= {"throughput_per_s": q(100, 0.03), "against": {"digest": "ab", "ratio": q(1.0, 0.01, 10)}}
    found = compare(base, document(engine(2.0, **worse)))
    assert verdicts(found)["p50 latency"] == "no change"
    assert verdicts(found)["p99 latency"] == verdicts(found)["throughput"] == "regression"


def test_turns_tell_that_it_was_the_machine() -> None:
    against = {"digest": "ab", "ratio": q(1.0, 0.01, 10)}
    found = compare(document(engine(2.0, digest="ab")), document(engine(4.0, against=against)))
    assert verdicts(found)["p50 latency"] == "no change"
    assert verdicts(found)["throughput"] == "undecided"
    assert "BASE's engine itself took 2.00 times as long" in why(found, "throughput")


def test_a_float_engine_of_another_input_is_no_reference() -> None:
    base, new = with_reference(engine(2.0), 6.0, 3.0), with_reference(engine(4.0), 12.0, 3.0)
    assert verdicts(compare(base, new, STEADY))["p50 latency"] == "no change"
    new["contract"] = "other"
    assert verdicts(compare(base, new, STEADY))["p50 latency"] == "regression"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cpu", "model"), "Cortex-A76"),
        (("cpu", "usable"), 4),
        (("versions", "openvino"), "2025.1"),
        (("gpus",), [{"name": "RTX"}]),
    ],
)
def test_times_of_other_machines_are_not_compared_unless_asked(path: tuple[str, ...], value: Any) -> None:
    new = document(engine(4.0))
    facts = new["environment"]
    for key in path[:-1]:
        facts = facts[key]
    facts[path[-1]] = value
    found = compare(document(), new)
    assert verdicts(found)["p50 latency"] == "not comparable"
    assert path[-1].removesuffix("s") in why(found, "p50 latency").replace("GPU", "gpu")
    assert verdicts(found)["accuracy"] == "no change"
    across = Settings(across_machines=True)
    assert verdicts(compare(document(), new, across))["p50 latency"] == "regression"


def test_a_runtime_of_another_backend_does_not_matter() -> None:
    new = document()
    new["environment"]["versions"]["onnxruntime"] = "1.0"
    assert verdicts(compare(document(), new, STEADY))["p50 latency"] == "no change"


def test_an_unsteady_machine_decides_nothing() -> None:
    new = document(engine(4.0, latency_notes=["not steady: p50 was 3 ms in the first half, 5 in the second"]))
    found = compare(document(), new, STEADY)
    assert verdicts(found)["p50 latency"] == "undecided"
    assert "not steady in NEW" in why(found, "p50 latency")


@pytest.mark.parametrize("missing", ["contract", "dataset"])
def test_accuracy_on_other_images_is_not_compared(missing: str) -> None:
    new = document(engine(right=100))
    new[missing] = "other" if missing == "contract" else {"held_out_digest": "00"}
    assert verdicts(compare(document(), new))["accuracy"] == "not comparable"


def test_kinds_are_not_mixed() -> None:
    new = document(engine(accuracy=proportion(300, 411, "simulated").to_dict()))
    found = compare(document(), new)
    assert verdicts(found)["accuracy"] == "not comparable"
    assert "simulated in NEW" in why(found, "accuracy")


def wrong(*ranges: range) -> list[Document]:
    """The mistakes of an engine, by the numbers of the images."""
    numbers = [number for each in ranges for number in each]
    return [{"path": f"a/{n}.png", "label": "a", "predicted": "b", "image": f"{n:064x}"} for n in numbers]


def test_accuracy_is_compared_image_by_image_where_both_tell() -> None:
    base = document(engine(right=389, mistakes=wrong(range(22))))
    new = document(engine(right=379, mistakes=wrong(range(2, 34))))
    found = compare(base, new)
    assert "12 lost and 2 gained of 411" in why(found, "accuracy")
    assert verdicts(found)["accuracy"] == "regression"
    # As two shares the same images are not enough.
    for made in (base, new):
        del made["engines"][0]["mistakes"]
    assert verdicts(compare(base, new))["accuracy"] == "undecided"


def _short(made: Document) -> None:
    made["engines"][0]["mistakes"].pop()


def _nameless(made: Document) -> None:
    made["engines"][0]["mistakes"][0] = {"label": "a"}


@pytest.mark.parametrize("harm", [_short, _nameless])
def test_mistakes_that_do_not_add_up_are_not_paired(harm: Callable[[Document], None]) -> None:
    base, new = (document(engine(mistakes=wrong(range(21)))) for _ in range(2))
    assert "each of 411 images" in why(compare(base, new), "accuracy")
    harm(new)
    assert "not image by image" in why(compare(base, new), "accuracy")


def test_a_missing_and_a_failed_engine_are_regressions_and_a_new_one_is_told() -> None:
    gone = compare(document(), document(engine(target="rk3588")))
    assert verdicts(gone) == {"engine": "regression"}
    assert any("rk3588 is only in NEW" in note for note in gone.notes)
    failed = document({"target": "x86-vnni", "backend": "openvino", "error": "no compiler", "gate": "failed"})
    assert verdicts(compare(document(), failed)) == {"engine": "regression"}
    assert "no compiler" in why(compare(document(), failed), "engine")
    assert verdicts(compare(failed, document())) == {"engine": "improvement"}
    assert verdicts(compare(failed, failed)) == {"engine": "no change"}
    plan = document(engine(state="plan"))
    assert verdicts(compare(document(), plan))["engine"] == "regression"


def test_devices_of_one_target_are_told_apart() -> None:
    base = document(engine(device={"name": "orin"}), engine(2.0, device={"name": "nuc"}))
    new = document(engine(2.0, device={"name": "nuc"}), engine(4.0, device={"name": "orin"}))
    found = compare(base, new, STEADY)
    assert verdicts(found, "x86-vnni on nuc")["p50 latency"] == "no change"
    assert verdicts(found, "x86-vnni on orin")["p50 latency"] == "regression"


def test_a_device_has_an_environment_of_its_own_and_the_host_does_not_speak_for_it() -> None:
    def there(cores: int, host_p50: float) -> Document:
        device = {"name": "orin", "environment": {"cpu": {"model": "Cortex-A78AE", "usable": cores}}}
        return with_reference(engine(device=device), host_p50, 3.0)

    name = "x86-vnni on orin"
    assert "as the two figures stand" in why(compare(there(6, 6.0), there(6, 9.0), STEADY), "p90 latency")
    found = compare(there(6, 6.0), there(4, 6.0), STEADY)
    assert verdicts(found, name)["p50 latency"] == "not comparable"
    assert "CPU usable was 6, is 4" in why(found, "p50 latency")


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        ("size", {"size_bytes": 5_000_000}, "regression"),
        ("size", {"size_bytes": 4_590_000}, "no change"),
        ("size", {"size_bytes": 4_000_000}, "improvement"),
        ("placement", {"placement": {"device": "CPU", "share_of_nodes": 0.9}}, "regression"),
        ("placement", {"placement": {"device": "GPU", "share_of_nodes": 1.0}}, "regression"),
        ("precision", {"precision": "f32"}, "regression"),
        (
            "precision",
            {"precision_detail": {"asked": "int8", "used": "int8", "executed": {"int8": 30, "f32": 20}}},
            "regression",
        ),
        ("precision", {"precision_detail": {"asked": "f16"}, "precision": "f16"}, "not comparable"),
        ("gate", {"gate": "failed", "gate_reasons": ["drop 3 points exceeds 1"]}, "regression"),
        ("gate", {"gate": "undecided"}, "undecided"),
    ],
)
def test_what_has_no_interval_is_compared_as_it_stands(name: str, change: Document, verdict: str) -> None:
    assert verdicts(compare(document(), document(engine(**change))))[name] == verdict


def test_absent_figures_are_not_comparable_and_absent_in_both_nothing() -> None:
    none: Document = {"latency_ms": None, "throughput_per_s": None, "accuracy": None}
    found = verdicts(compare(document(), document(engine(**none))))
    assert found["p50 latency"] == found["throughput"] == found["accuracy"] == "not comparable"
    assert compare(document(), document(engine(**none))).status == 0
    assert "p50 latency" not in verdicts(compare(document(engine(**none)), document(engine(**none))))


def test_too_few_samples_for_an_interval_decide_nothing() -> None:
    new = document(engine(latency_ms={"p50": q(9.0), "p90": None, "p99": None}))
    found = verdicts(compare(document(), new))
    assert found["p50 latency"] == "undecided"
    assert found["p90 latency"] == "not comparable"


@pytest.mark.parametrize(
    "broken",
    [
        {"engines": None},
        {"engines": [{"backend": "openvino"}]},
        {"engines": [engine(), engine()]},
        {"engines": [engine(latency_ms={"p50": 3})]},
        {"engines": [engine(accuracy={"value": "x", "low": None, "high": None, "n": 1, "kind": "measured"})]},
        {"engines": [engine(throughput_per_s=q(math.nan))]},
    ],
)
def test_what_is_no_results_document_is_refused_in_one_line(broken: Document) -> None:
    for pair in ((document(), document() | broken), (document() | broken, document())):
        with pytest.raises(InputError) as error:
            compare(*pair)
        assert "\n" not in str(error.value)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@pytest.mark.parametrize("junk", [None, 0, -1.5, "x", [], {}, [1], {"a": 1}, True, math.nan])
def test_junk_anywhere_is_compared_or_refused_and_never_a_crash(junk: Any) -> None:
    item = {"path": "a/1", "label": "a", "before": "a", "after": "b"}
    whole = with_reference(engine(changed=[item], against={"digest": "ab", "ratio": q(1.0, 0.01)}), 6.0, 3.0)
    for path in places(whole):
        broken = copy.deepcopy(whole)
        inner: Any = broken
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = junk
        for pair in ((whole, broken), (broken, whole)):
            with contextlib.suppress(InputError):
                comparison = compare(*pair)
                json.dumps(comparison.to_dict(), allow_nan=False)
                assert comparison_markdown(comparison) and comparison_junit(comparison)


def test_documents_are_left_alone() -> None:
    base, new = with_reference(engine(), 6.0, 3.0), with_reference(engine(3.0), 6.0, 2.0)
    kept = copy.deepcopy((base, new))
    compare(base, new)
    assert (base, new) == kept


def test_newcombes_interval_of_two_proportions() -> None:
    # Newcombe 1998, table II, case (a): 56/70 - 48/80, method 10.
    found = difference(proportion(56, 70), proportion(48, 80))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=1e-4)
    assert found.high == pytest.approx(0.3339, abs=1e-4)


def test_intervals_of_another_confidence() -> None:
    assert (joint(1), joint(10)) == (0.95, 0.995)
    plain = Quantity(0.0, -1.959964, 1.959964, 9)
    assert at(0.95, plain, logarithmic=False).high == pytest.approx(1.959964)
    assert at(0.995, plain, logarithmic=False).high == pytest.approx(2.807034, abs=1e-5)
    of_ten = Quantity(0.0, -2.262157, 2.262157, 10)
    assert at(0.995, of_ten, 9, logarithmic=False).low == pytest.approx(-3.689662, abs=1e-5)
    wide = at(0.995, Quantity(1.0, 1 / 1.1, 1.1, 9), logarithmic=True)
    assert wide.low and wide.high and wide.high * wide.low == pytest.approx(1)
    assert math.log(wide.high) / math.log(1.1) == pytest.approx(2.807034 / 1.959964, abs=1e-5)
    assert at(0.995, Quantity(1.0, None, 2.0, 9), logarithmic=False).low is None


def test_noise_adds_in_squares() -> None:
    sharp = Quantity(1.0, 1.0, 1.0, 9)
    assert widened(sharp, 0.01).high == pytest.approx(math.exp(1.959964 * 0.01))
    assert ratio(sharp, sharp, 0.01).high == pytest.approx(math.exp(1.959964 * 0.01 * math.sqrt(2)))


def measured(rng: np.random.Generator, level: float, noise: float, rounds: int = 8) -> Document:
    """A figure as a run gives it: rounds around the run's own level, with Student's t interval."""
    logarithms = math.log(level) + noise * rng.standard_normal() + 0.02 * rng.standard_normal(rounds)
    mean = float(logarithms.mean())
    half = student_t(rounds - 1) * float(logarithms.std(ddof=1)) / math.sqrt(rounds)
    low, high = math.exp(mean - half), math.exp(mean + half)
    return {"value": math.exp(mean), "low": low, "high": high, "n": 800, "kind": "measured"}


def run(rng: np.random.Generator, slow: float, noise: float) -> Document:
    """A document of one run; ``slow`` multiplies its times."""
    latency = {name: measured(rng, slow * p, noise) for name, p in (("p50", 2.0), ("p90", 2.2), ("p99", 3.0))}
    rate = measured(rng, 500 / slow, noise, rounds=3)
    right = int(rng.binomial(411, 0.95))
    accuracy = proportion(right, 411).to_dict()
    made = document(engine(latency_ms=latency, throughput_per_s=rate, accuracy=accuracy))
    return made | {"train": None}


@pytest.mark.parametrize("noise", [0.0, 0.005, 0.03])
def test_false_alarms_are_rare_where_the_noise_is_what_is_stated(noise: float) -> None:
    rng = np.random.default_rng(1)
    settings = Settings(noise=noise)
    alarms = sum(compare(run(rng, 1, noise), run(rng, 1, noise), settings).status for _ in range(TRIALS // 2))
    assert alarms / (TRIALS // 2) <= 0.05


def test_noise_that_is_not_stated_makes_false_alarms() -> None:
    """What the noise is for: the intervals of single runs know nothing of it."""
    rng = np.random.default_rng(2)
    alarms = sum(
        compare(run(rng, 1, 0.03), run(rng, 1, 0.03), Settings(noise=0.0)).status for _ in range(300)
    )
    assert alarms / 300 > 0.2


def in_turns(rng: np.random.Generator, slow: float, between: float, error: float) -> Document:
    """A document whose engine was timed in turns with BASE's: sessions differ, rounds err."""
    launches = error * math.sqrt(10) * rng.standard_normal(10)
    value = slow * math.exp(between * rng.standard_normal() + float(launches.mean()))
    half = student_t(9) * float(launches.std(ddof=1)) / math.sqrt(10)
    low, high = value * math.exp(-half), value * math.exp(half)
    change = {"value": value, "low": low, "high": high, "n": 10, "kind": "measured"}
    return document(engine(against={"digest": "ab", "ratio": change}))


def test_five_percent_are_found_in_turns_and_nothing_else_is() -> None:
    """The power that 0.5 % between sessions and 0.8 % within leave."""
    rng = np.random.default_rng(3)
    base, settings = document(engine(digest="ab")), Settings()

    def found(slow: float) -> float:
        trials = [compare(base, in_turns(rng, slow, 0.005, 0.008), settings) for _ in range(TRIALS // 2)]
        return sum(verdicts(trial)["p50 latency"] == "regression" for trial in trials) / len(trials)

    assert found(1.05) >= 0.95
    assert found(1.0) <= 0.05


def test_ratio_intervals_cover() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(TRIALS):
        new, base = (Quantity.from_dict(measured(rng, level, 0.01)) for level in (2.1, 2.0))
        found = ratio(new, base, 0.01)
        assert found.low is not None and found.high is not None
        hits += found.low <= 1.05 <= found.high
    assert 0.94 <= hits / TRIALS <= 0.985


@pytest.mark.parametrize("right", [0.95, 0.99])
def test_differences_of_shares_cover_together(right: float) -> None:
    """Newcombe's interval for eight stays good for 99.4 %."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(TRIALS):
        new, base = (proportion(int(rng.binomial(411, right)), 411) for _ in range(2))
        found = at(joint(8), difference(new, base), logarithmic=False)
        assert found.low is not None and found.high is not None
        hits += found.low <= 0 <= found.high
    assert hits / TRIALS >= 0.985


def test_the_command_prints_writes_and_exits_by_the_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, new = tmp_path / "base.json", tmp_path / "new.json"
    base.write_text(json.dumps(document()))
    new.write_text(json.dumps(document(engine(size_bytes=9_000_000))))

    def status(*arguments: str) -> int:
        found: int = command.main(list(arguments), standalone_mode=False)
        return found

    assert status(str(base), str(base)) == 0
    assert "unchanged: passed" in capsys.readouterr().out
    files = [f"--junit={tmp_path / 'a.xml'}", f"--markdown={tmp_path / 'a.md'}"]
    assert status(str(base), str(new), *files) == 1
    assert "x86-vnni: size: regression" in capsys.readouterr().out
    assert 'failures="1"' in (tmp_path / "a.xml").read_text()
    assert "**regression**" in (tmp_path / "a.md").read_text()
    assert status(str(base), str(base), "--strict", "--json") == 1  # p90 is not told from noise
    assert json.loads(capsys.readouterr().out)["status"] == 1
    with pytest.raises(InputError):
        status(str(tmp_path / "a.xml"), str(new))


@pytest.mark.parametrize(
    ("before", "after", "verdict", "status"),
    [
        ("none", "failed", "regression", 1),
        ("none", "undecided", "undecided", 0),
        ("passed", "failed", "regression", 1),
        ("failed", "failed", "no change", 1),
        ("failed", "passed", "improvement", 0),
        ("undecided", "failed", "regression", 1),
    ],
)
def test_a_gate_that_fails_fails(before: str, after: str, verdict: str, status: int) -> None:
    found = compare(document(engine(gate=before)), document(engine(gate=after)))
    assert verdicts(found)["gate"] == verdict
    assert found.status == status
    assert ('<failure message="' in comparison_junit(found)) == bool(status)


@pytest.mark.parametrize(("share", "verdict"), [(0.99, "no change"), (0.4, "regression")])
def test_time_spent_elsewhere_is_a_regression_too(share: float, verdict: str) -> None:
    placement = {"device": "CPU", "share_of_nodes": 1.0, "share_of_time": share, "elsewhere": []}
    found = compare(document(), document(engine(placement=placement)))
    assert verdicts(found)["placement"] == verdict


def test_images_are_known_again_by_their_content() -> None:
    new = document(engine(mistakes=[{**item, "path": f"test/{item['path']}"} for item in wrong(range(21))]))
    assert "each of 411 images" in why(compare(document(), new), "accuracy")


def test_a_bench_is_compared_with_its_own_target() -> None:
    both = document(engine(), engine(target="rk3588"))
    base = Baseline(Path("base.json"), both, None, None)
    assert [each["target"] for each in base.of(document()).results["engines"]] == ["x86-vnni"]
    assert base.of(document()).judge(document(), quiet=True) == 0
    assert base.judge(document(), quiet=True) == 1
    stranger = document(engine(target="rpi5"))
    with pytest.raises(InputError, match="no results of rpi5"):
        base.of(stranger)


def test_a_bench_there_is_compared_with_one_here_and_the_other_way_round() -> None:
    here = document(engine(digest="ab"))
    device = {"name": "board", "environment": here["environment"]}
    there = document(engine(device=device, against={"digest": "ab", "ratio": q(1.4, 0.01, 10)}))
    found = compare(Baseline(Path("b"), here, None, None).of(there).results, there)
    assert verdicts(found, "x86-vnni on board")["p50 latency"] == "regression"
    back = compare(Baseline(Path("b"), there, None, None).of(here).results, here)
    assert verdicts(back)["engine"] == "no change"
    both = document(engine(device=device), engine(device={**device, "name": "nuc"}))
    with pytest.raises(InputError, match="2 results of x86-vnni, none of them of this machine"):
        Baseline(Path("b"), both, None, None).of(here)


def test_nothing_to_compare_with_is_an_error() -> None:
    with pytest.raises(InputError, match="BASE has no engine"):
        compare(document() | {"engines": []}, document())


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_files_that_can_not_be_written_are_told_first(option: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(document()))
    (tmp_path / "file").write_text("")
    for wrong_place in (tmp_path, tmp_path / "file" / "x.xml"):
        with pytest.raises(InputError, match=option):
            command.main([str(file), str(file), option, str(wrong_place)], standalone_mode=False)
