"""The report: one HTML file that needs nothing else, neither network nor files beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgetl.errors import InputError
from edgetl.reporting import facts, sections
from edgetl.reporting.changed import changed_images
from edgetl.reporting.classes import per_class
from edgetl.reporting.endurance import endurance
from edgetl.reporting.energy import energy
from edgetl.reporting.estimates import estimates
from edgetl.reporting.layer_errors import layer_errors
from edgetl.reporting.markup import Html, el, join, json_block
from edgetl.reporting.placement import placement
from edgetl.reporting.plots import Figure, plotly_js
from edgetl.reporting.read import SCHEMA, rows, section, text
from edgetl.reporting.reconciliation import reconciliation
from edgetl.reporting.roofline import roofline
from edgetl.reporting.scenarios import scenarios
from edgetl.reporting.transfer import transfer
from edgetl.reporting.turns import turns
from edgetl.reporting.verdict import verdict

_CONTENTS = (
    ("summary", "Summary"),
    ("trade-off", "Trade-off"),
    ("device", "Host and device"),
    ("latency", "Latency"),
    ("scenarios", "Ways to run"),
    ("endurance", "Endurance"),
    ("energy", "Energy"),
    ("turns", "In turns"),
    ("reconciliation", "Vendor's tool"),
    ("placement", "Placement"),
    ("roofline", "Roofline"),
    ("confusion", "Confusion"),
    ("refit", "Head refit"),
    ("errors", "Errors by layer"),
    ("estimates", "Compiler estimates"),
    ("changed", "Changed images"),
    ("classes", "Classes"),
    ("making", "How it was made"),
    ("contract", "Contract"),
    ("environment", "Environment"),
    ("skipped", "Skipped files"),
    ("gaps", "Not measured"),
)


def write_report(results: Mapping[str, Any], path: Path, *, images: Path | None = None) -> Path:
    """Write a results document as one self-contained HTML page and return its path.

    ``images`` is the dataset's root, for thumbnails of images whose prediction changed; without it, or
    where a file is missing, the report says so and shows the row without a picture. The file appears
    whole or not at all. The same results and images give the same bytes.

    Raises:
        MissingDependencyError: without Plotly.
        InputError: if ``results`` is no results document or ``path`` cannot be written.
    """
    if results.get("schema") != SCHEMA:
        raise InputError(f"not a results document: its schema is {results.get('schema')!r}, not {SCHEMA!r}")
    _write_atomically(path, page(results, images))
    return path


def page(results: Mapping[str, Any], images: Path | None = None) -> str:
    """The whole page as text."""
    content, figures = _content(results, images)
    blocks = [json_block(f"figure-{name}", _compact(figure)) for name, figure in figures.items()]
    scripts = [plotly_js(), _asset("report.js")] if figures else []
    title = f"edgetl report: {_dataset_name(results)}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Html(_asset("style.css"))),
    )
    body = el("body", content, *blocks, *(el("script", Html(script)) for script in scripts))
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def _content(results: Mapping[str, Any], images: Path | None) -> tuple[Html, dict[str, Figure]]:
    table = rows(results)
    drawn = {
        "trade-off": sections.trade_off(table),
        "latency": sections.latency(table),
        "endurance": endurance(table),
        "placement": placement(table),
        "roofline": roofline(table),
        "confusion": sections.confusions(table, results),
        "refit": sections.refit(table, results),
        "errors": layer_errors(table),
    }
    plain = {
        "summary": sections.summary(table),
        "device": transfer(table),
        "scenarios": scenarios(table),
        "energy": energy(table),
        "turns": turns(table),
        "reconciliation": reconciliation(table),
        "estimates": estimates(table),
    }
    made = plain | {name: part for name, (part, _) in drawn.items()}
    parts = [
        *(made[name] for name, _ in _CONTENTS if name in made),
        changed_images(table, images),
        per_class(table, results),
        facts.making(table, results),
        facts.contract(results),
        facts.environment(results),
        facts.skipped(results),
        facts.not_measured(results),
    ]
    main = el("main", el("p", verdict(results), class_="verdict"), *parts)
    return join([_header(results, [name for name, _ in _CONTENTS if f'id="{name}"' in main]), main]), {
        name: f for name, (_, f) in drawn.items() if f is not None
    }


def _header(results: Mapping[str, Any], present: Sequence[str]) -> Html:
    links = [el("a", name, href=f"#{target}") for target, name in _CONTENTS if target in present]
    machine = text(section(section(results, "environment"), "cpu"), "model")
    version = text(results, "edgetl")
    about = [_date(text(results, "created")), machine, f"edgetl {version}" if version else ""]
    return el(
        "header",
        el("h1", f"{_dataset_name(results)}: deployment report"),
        el("div", " · ".join(part for part in about if part), class_="muted"),
        el("nav", join(links, " "), aria_label="Contents"),
    )


def _dataset_name(results: Mapping[str, Any]) -> str:
    """The last part of the dataset's root; a folder with a general name says little, so with its parent."""
    parts = [
        part
        for part in text(section(results, "dataset"), "root").replace("\\", "/").split("/")
        if part not in ("", ".")
    ]
    kept = 2 if parts and parts[-1] in ("images", "data", "train") else 1
    return "/".join(parts[-kept:]) or "No images"


def _date(created: str) -> str:
    """``"21 November 2026, 03:00 UTC"``; what cannot be read as a date stays as it is."""
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return created or "date not recorded"
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    zone = " UTC" if moment.tzinfo is not None else ""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M}{zone}"


_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
"""Not strftime's, which follow the machine's locale."""


def _policy(scripts: list[str]) -> str:
    """A content security policy: the page may load nothing, and run these scripts and no other."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _asset(name: str) -> str:
    return (files("edgetl.reporting") / "assets" / name).read_text(encoding="utf-8")


def _compact(figure: Figure) -> str:
    return json.dumps(figure, separators=(",", ":"), allow_nan=False)


def _write_atomically(path: Path, content: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write the report to {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
