"""edgetl run IMAGES."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgetl.cli.common import (
    fallback_option,
    json_option,
    make_context,
    print_json,
    result_console,
    seconds_option,
)
from edgetl.cli.compare import Baseline, baseline_options
from edgetl.cli.text import skipped_line


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="T",
    help="Device profile; may be repeated [this machine].",
)
@click.option("-b", "--backbone", metavar="B", help="timm model name [tf_efficientnet_lite0].")
@click.option("--weights", metavar="FILE|hub", help="Backbone weights; 'hub' lets timm download its own.")
@click.option("--recipe", metavar="R", help="Calibration recipe [the target's].")
@click.option(
    "--max-drop", type=click.FloatRange(min=0), metavar="PT", help="Gate: accuracy drop, percentage points."
)
@click.option(
    "--max-latency", type=click.FloatRange(min=0, min_open=True), metavar="MS", help="Gate: p50 latency, ms."
)
@click.option(
    "--refit-head/--no-refit-head",
    default=True,
    show_default=True,
    help="Fit the head again on the INT8 backbone.",
)
@click.option(
    "--val-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="Share held out where IMAGES has no val/.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the split, calibration and cross-validation."
)
@fallback_option
@click.option(
    "--on",
    multiple=True,
    metavar="DEVICE",
    help="Measure engines of its kind there, by name or ssh://user@host; repeatable.",
)
@seconds_option
@click.option("--remeasure", is_flag=True, help="Take latencies anew even if they are in the store.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("edgetl-out"), show_default=True)
@baseline_options
@json_option
def command(
    images: Path,
    out: Path,
    as_json: bool,
    baseline: Path | None,
    junit: Path | None,
    markdown: Path | None,
    **options: Any,
) -> int:
    """From IMAGES (a folder of class folders) to measured engines, bundles and a report."""
    return story(images, out, as_json, Baseline.read(baseline, junit, markdown), **options)


def story(images: Path, out: Path, as_json: bool, baseline: Baseline | None = None, **options: Any) -> int:
    """Run the pipeline and print its summary; the exit status says whether the gates passed."""
    from edgetl.pipeline import RunOptions, run
    from edgetl.reporting import render_summary
    from edgetl.results import Budgets

    names = ("max_drop", "max_latency", "max_fallback")
    asked = {name: options.pop(name) for name in names if options.get(name) is not None}
    budgets = Budgets(**{**asked, "max_fallback": asked.get("max_fallback", 0) / 100})
    chosen = {name: value for name, value in options.items() if value is not None}
    results = run(RunOptions(images=images, out=out, budgets=budgets, **chosen), make_context())
    if as_json:
        print_json(results)
    else:
        render_summary(results, result_console())
        click.echo(skipped_line(results["skipped"]), nl=bool(results["skipped"]))
        for warning in results["environment"]["warnings"]:
            click.echo(f"note: {warning}")
        click.echo(
            f"report: {out / 'report.html'}   results: {out / 'results.json'}   bundles: {out / 'bundles'}"
        )
    worse = baseline.judge(results, quiet=as_json) if baseline else 0
    return max(gate_status(results), worse)


def gate_status(results: dict[str, Any]) -> int:
    """0 if every engine was made and no gate is failed or undecided, else 1; says which on standard error."""
    status = 0
    for engine in results["engines"]:
        for reason in engine.get("gate_reasons", []):
            click.echo(f"gate {engine['gate']}: {engine['target']}: {reason}", err=True)
        if engine["error"]:
            what = "not measured" if engine.get("device") else "not made"
            click.echo(f"{what}: {engine['target']}: {engine['error']}", err=True)
        if engine["error"] or engine["gate"] in ("failed", "undecided"):
            status = 1
    return status
