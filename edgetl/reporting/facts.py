"""The sections about how the numbers came about: making, contract, environment, skipped files, gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetl.reporting.markup import Html, clean, el
from edgetl.reporting.read import Row, items, mappings, number, quantity, section, text
from edgetl.reporting.sections import boxed, paragraph, titled
from edgetl.reporting.text import (
    MEGABYTES,
    NBSP,
    PERCENT,
    SECONDS,
    counted,
    in_prose,
    significant,
)
from edgetl.reporting.verdict import gaps

Fact = tuple[str, object]

_STATES = {
    "plan": "a plan: the engine is built on its device",
    "uncompiled": "not compiled: the device's own compiler has yet to take it",
}

_WRITTEN = ("cpu", "memory", "load", "virtual", "temperature_c", "versions", "warnings")
"""Parts of the environment that have rows of their own."""


def facts(pairs: Sequence[Fact], label: str) -> Html:
    """A two-column table; pairs without a value are left out."""
    body = [
        el("tr", el("th", name, scope="row"), el("td", value))
        for name, value in pairs
        if value not in ("", None)
    ]
    return boxed(el("table", el("tbody", *body), class_="facts"), label)


def plain(value: object) -> str:
    """A value of the document as a person reads it: lists with commas, mappings as ``key value``."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(key)} {plain(item)}" for key, item in value.items()) or "none"
    return clean(value)


def making(rows: Sequence[Row], results: Mapping[str, Any]) -> Html:
    """Data, training, export and, engine by engine, the build."""
    notes = [*items(section(results, "dataset"), "notes"), *items(results, "notes")]
    content: list[object] = [el("h3", "Data"), _data(section(results, "dataset"), notes)]
    train, export = section(results, "train"), section(results, "export")
    if train:
        content += [el("h3", "Training"), _training(train)]
    if export:
        content += [el("h3", "Export"), _export(export)]
    made = [row for row in rows if not row.reference and not row.error]
    if made:
        content += [el("h3", "Engines"), _builds(made)]
    if told := [row for row in made if section(row.source, "layers")]:
        content += [el("h3", "Engine builds"), *(part for row in told for part in _engine_build(row))]
    return titled("making", "How it was made", *content)


def _data(dataset: Mapping[str, Any], notes: Sequence[object]) -> Html:
    sizes = [
        f"{name} {size:,.0f}" for name in ("train", "val", "test") if (size := number(dataset.get(name)))
    ]
    pairs: list[Fact] = [
        ("Images", ", ".join(sizes)),
        ("Classes", len(items(dataset, "classes")) or ""),
        ("Tested on", text(dataset, "held_out")),
        ("Folder", text(dataset, "root")),
        ("Digest", el("code", text(dataset, "digest")) if text(dataset, "digest") else ""),
    ]
    pairs += [("Note", clean(remark)) for remark in notes]
    return facts(pairs, "Data")


def _training(train: Mapping[str, Any]) -> Html:
    accuracy, l2 = quantity(train.get("accuracy")), number(train.get("l2"))
    seconds = section(train, "seconds")
    folds = [
        f"λ {plain(entry.get('l2'))}: {PERCENT.full(value)}"
        for entry in mappings(train, "cross_validation")
        if (value := _figure(entry.get("accuracy"))) is not None
    ]
    pairs: list[Fact] = [
        ("Backbone", text(train, "backbone")),
        ("Weights", text(train, "weights")),
        ("Accuracy", in_prose(accuracy, PERCENT) if accuracy else ""),
        ("L2 penalty λ", plain(l2) if l2 is not None else ""),
        ("Cross-validation", "; ".join(folds)),
        ("Time", _durations(seconds)),
    ]
    return facts(pairs, "Training")


def _figure(value: object) -> float | None:
    """A number that may stand in the document bare or as a quantity."""
    read = quantity(value)
    return read.value if read else number(value)


def _durations(seconds: Mapping[str, Any]) -> str:
    known = [(clean(name), number(value)) for name, value in seconds.items()]
    return ", ".join(f"{name} {SECONDS.full(value)}" for name, value in known if value is not None)


def _export(export: Mapping[str, Any]) -> Html:
    parity = section(export, "parity")
    agreement = quantity(parity.get("top1_agreement"))
    compared = number(parity.get("n"))
    biggest, mean = number(parity.get("max_abs")), number(parity.get("mean_abs"))
    pairs: list[Fact] = [
        ("ONNX opset", text(export, "opset")),
        ("Nodes", text(export, "nodes")),
        ("Compared with the trained model", f"on {counted(int(compared), 'image')}" if compared else ""),
        ("Largest logit difference", f"{biggest:.3g}" if biggest is not None else ""),
        ("Mean logit difference", f"{mean:.3g}" if mean is not None else ""),
        ("Same top class", in_prose(agreement, PERCENT) if agreement else ""),
    ]
    return facts(pairs, "Export")


def _builds(rows: Sequence[Row]) -> Html:
    names = ("Engine", "Recipe", "Bundle", "Size", "Time")
    head = el("tr", *(el("th", name, scope="col") for name in names))
    body = [_build_row(row) for row in rows]
    return boxed(
        el("table", el("thead", head), el("tbody", *body), class_="wide"), "How the engines were made"
    )


def _build_row(row: Row) -> Html:
    source = row.source
    cells: list[object] = [
        text(source, "recipe") or "–",
        text(source, "bundle") or "–",
        MEGABYTES.full(row.size_bytes) if row.size_bytes is not None else "–",
        _durations(section(source, "seconds")) or "–",
    ]
    return el("tr", el("th", row.name, scope="row"), *(el("td", value) for value in cells))


def _engine_build(row: Row) -> tuple[Html, Html]:
    """What the builder told of an engine's layers, or what was checked for one that is still to be built."""
    layers = section(row.source, "layers")
    products = number(layers.get("of_products"))
    command = text(layers, "build_command")
    pairs: list[Fact] = [
        ("State", _STATES.get(text(row.source, "state"), "built")),
        ("Convolutions and matrix products", _counts(section(layers, "arithmetic"))),
        ("Asked for in INT8", f"{text(layers, 'asked_int8')} of {products:.0f}" if products else ""),
        ("Layers by kind", _counts(section(layers, "by_kind"))),
        ("Layers that only move data", text(layers, "reformats")),
        *(("Finding", plain(finding)) for finding in items(layers, "findings")),
        *(("Checked", plain(check)) for check in items(layers, "checks")),
        ("Same build by the vendor's tool", el("code", command) if command else ""),
    ]
    return el("h4", row.name), facts(pairs, f"How {row.name} was built")


def _counts(counts: Mapping[str, Any]) -> str:
    """``"50 int8, 1 f32"``."""
    return ", ".join(f"{plain(count)} {clean(name)}" for name, count in counts.items() if number(count))


def contract(results: Mapping[str, Any]) -> Html:
    value = section(results, "contract_value")
    fingerprint = text(results, "contract")
    pairs: list[Fact] = [("Fingerprint", el("code", fingerprint) if fingerprint else "not recorded")]
    pairs += [(clean(key).replace("_", " "), plain(item)) for key, item in value.items()]
    words = "What happens to an image before the network; the same for every row of this report."
    return titled(
        "contract", "Preprocessing contract", paragraph(words), facts(pairs, "Preprocessing contract")
    )


def environment(results: Mapping[str, Any]) -> Html:
    machine = section(results, "environment")
    pairs = [*machine_facts(machine), ("edgetl", text(results, "edgetl"))]
    return titled("environment", "Environment", warnings(machine), facts(pairs, "Environment"))


def warnings(machine: Mapping[str, Any]) -> Html | None:
    """What makes a machine unfit to measure on; None if nothing does."""
    lines = [el("li", clean(warning)) for warning in items(machine, "warnings")]
    return el("div", el("ul", *lines), class_="warnings", role="note") if lines else None


def machine_facts(machine: Mapping[str, Any]) -> list[Fact]:
    """An environment of the document, line by line."""
    cpu = section(machine, "cpu")
    memory, heat = number(section(machine, "memory").get("total_mb")), number(machine.get("temperature_c"))
    clocks = [
        f"{before}{value:,.0f}{NBSP}MHz"
        for key, before in (("mhz", ""), ("max_mhz", "at most "), ("allowed_mhz", "allowed "))
        if (value := number(cpu.get(key)))
    ]
    load = [float(value) for value in items(machine, "load") if number(value) is not None]
    pairs: list[Fact] = [
        ("processor", plain(cpu.get("model"))),
        ("cores in use", plain(cpu.get("usable"))),
        ("instruction sets", plain(cpu.get("isa"))),
        ("clock", ", ".join(clocks) or plain(None)),
        ("frequency governor", plain(cpu.get("governor"))),
        ("memory", f"{memory / 1024:.1f}{NBSP}GiB" if memory else plain(None)),
        ("load at the start", significant(load[0], 2) if load else plain(None)),
        ("temperature", f"{heat:.0f}{NBSP}°C" if heat is not None else plain(None)),
        ("virtual machine", plain(machine.get("virtual") or "no")),
    ]
    pairs += [
        (clean(key).replace("_", " "), plain(value))
        for key, value in machine.items()
        if value is not None and key not in _WRITTEN
    ]
    versions = section(machine, "versions").items()
    return pairs + [(clean(name), plain(version)) for name, version in versions if name != "edgetl"]


def skipped(results: Mapping[str, Any]) -> Html:
    files = mappings(results, "skipped")
    if not files:
        return titled("skipped", "Skipped files", paragraph("None: every file was read."))
    head = el("tr", el("th", "File", scope="col"), el("th", "Reason", scope="col"))
    body = [el("tr", el("td", text(file, "path")), el("td", text(file, "reason"))) for file in files]
    table = boxed(el("table", el("thead", head), el("tbody", *body)), "Skipped files")
    count = f"{counted(len(files), 'file was', 'files were')} skipped and did not take part"
    return titled("skipped", "Skipped files", el("details", el("summary", count), table))


def not_measured(results: Mapping[str, Any]) -> Html:
    lines = [el("li", line) for line in gaps(results)]
    nothing = paragraph("Nothing that this report has a place for.")
    return titled("gaps", "What was not measured", el("ul", *lines, class_="plain") if lines else nothing)
