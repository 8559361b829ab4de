"""edgetl bench BUNDLE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgetl.cli.common import (
    fallback_option,
    json_option,
    make_context,
    print_json,
    require_file,
    result_console,
    seconds_option,
)
from edgetl.cli.compare import Baseline, baseline_options
from edgetl.cli.run import gate_status
from edgetl.cli.text import interval, skipped_line
from edgetl.errors import InputError


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="DIR", help="Labelled images: measure accuracy too."
)
@click.option(
    "--max-latency", type=click.FloatRange(min=0, min_open=True), metavar="MS", help="Gate: p50 latency, ms."
)
@fallback_option
@click.option(
    "--on", multiple=True, metavar="DEVICE", help="Measure there, by name or ssh://user@host; repeatable."
)
@click.option(
    "--brief", is_flag=True, help="Only accuracy, latency, throughput, placement, and what is asked for."
)
@seconds_option
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MIN",
    help="Also run without a pause for so long, and find throttling.",
)
@click.option(
    "--reconcile", is_flag=True, help="Also run the vendor's own tool in turns, and print the ratio."
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Take turns with this bundle's engine, and print the ratio of their latencies.",
)
@baseline_options
@click.option(
    "--install",
    is_flag=True,
    help="On a DEVICE that lacks the engine's runtime, install it in a folder of edgetl's own.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the results there."
)
@json_option
def command(
    bundle: Path,
    images: Path | None,
    max_latency: float | None,
    max_fallback: float,
    on: tuple[str, ...],
    brief: bool,
    seconds: float,
    minutes: float | None,
    reconcile: bool,
    against: Path | None,
    baseline: Path | None,
    junit: Path | None,
    markdown: Path | None,
    install: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure a bundle, here or on devices: latency, throughput, placement, accuracy on unseen images."""
    from edgetl import api

    if install and not on:
        raise InputError("--install installs on a device; name it with --on")
    require_file(out, "-o")
    base = Baseline.read(baseline, junit, markdown)
    former = base.bundle(bundle) if base else None
    if base and not against and former is None:
        click.echo("note: the bundle of the baseline is not there any more, so no turns with it", err=True)
    results = api.bench(
        bundle,
        images,
        on=on,
        against=against or former,
        max_latency=max_latency,
        max_fallback=max_fallback / 100,
        brief=brief,
        seconds=seconds,
        minutes=minutes,
        reconcile=reconcile,
        install=install,
        context=make_context(),
    )
    if out:
        from edgetl.results import write_results

        write_results(results, out)
    if as_json:
        print_json(results)
        return max(gate_status(results), base.of(results).judge(results, quiet=True) if base else 0)
    if len(results["engines"]) > 1:
        from edgetl.reporting import render_summary

        render_summary(results, result_console())
    for engine in results["engines"]:
        _show(engine)
    for note in results["notes"]:
        click.echo(f"note: {note}")
    if not on:
        _warn(results["environment"])
    click.echo(skipped_line(results["skipped"]), nl=bool(results["skipped"]))
    return max(gate_status(results), base.of(results).judge(results, quiet=False) if base else 0)


def _show(engine: Mapping[str, Any]) -> None:
    """One engine, a fact a line."""
    device = engine.get("device")
    if device:
        click.echo(f"{engine['target']} on {device['name']}")
    if engine["accuracy"] is None and engine["placement"] is None:
        click.echo(f"failed       {engine['error']}")
        return
    click.echo(f"accuracy     {interval(engine['accuracy'], percent=True)}")
    if device:
        _show_host(device)
    if engine["latency_ms"]:
        _show_speed(engine)
    executed = ", ".join(f"{count} {name}" for name, count in engine["precision_detail"]["executed"].items())
    click.echo(f"precision    {engine['precision']} (layers: {executed})")
    placement = engine["placement"]
    of_time = "" if placement["share_of_time"] is None else f", {placement['share_of_time']:.0%} of the time"
    click.echo(f"placement    {placement['device']}: {placement['share_of_nodes']:.0%} of nodes{of_time}")
    if engine["standing"]:
        click.echo(f"note: {engine['standing']}")
    for note in engine.get("latency_notes", ()):
        click.echo(f"note: {note}")
    if device:
        _warn(device["environment"])


def _show_speed(engine: Mapping[str, Any]) -> None:
    for name in ("p50", "p90", "p99"):
        value = engine["latency_ms"][name]
        click.echo(f"{name} latency  {interval(value, unit=' ms') if value else 'not enough samples'}")
    click.echo(f"throughput   {interval(engine['throughput_per_s'], unit=' images/s')}")
    if "multi_stream" in engine:
        query = engine["multi_stream"]["latency_ms"]
        value = query["p99"] or query["p90"] or query["p50"]
        name = "p99" if query["p99"] else "p90" if query["p90"] else "p50"
        samples = engine["multi_stream"]["samples_per_query"]
        click.echo(f"multi-stream {interval(value, unit=' ms')} ({name}, {samples} images a query)")
    if "end_to_end" in engine:
        whole = engine["end_to_end"]
        click.echo(
            f"end to end   {interval(whole['end_to_end']['p50'], unit=' ms')} (p50, from encoded images)"
        )
    if "cold_start" in engine:
        cold = engine["cold_start"]
        names = ("import_ms", "load_ms", "first_inference_ms")
        parts = [
            f"{name.removesuffix('_ms').replace('_', ' ')} {cold[name]['value']:.0f} ms" for name in names
        ]
        click.echo(f"cold start   {', '.join(parts)}")
    _show_use(engine)
    if "against" in engine:
        against = engine["against"]
        click.echo(f"in turns     {interval(against['ratio'])} of the latency of {against['bundle']}")
    if "reconciliation" in engine:
        tool = engine["reconciliation"]
        click.echo(f"{tool['tool']}: ratio {interval(tool['ratio'])}, ours to theirs")
        for note in tool["notes"]:
            click.echo(f"note: {tool['tool']}: {note}")
    if "sustained" in engine:
        _show_sustained(engine["sustained"])
    for line in engine.get("not_measured", ()):
        click.echo(f"not measured: {line}")


def _show_sustained(found: Mapping[str, Any]) -> None:
    click.echo(f"{found['minutes']:g} minutes: last over first p50 {interval(found['slowdown'])}")
    for text in (*(change["text"] for change in found["changes"]), *found["notes"]):
        click.echo(f"{found['minutes']:g} minutes: {text}")


def _show_use(engine: Mapping[str, Any]) -> None:
    use, energy = engine.get("roofline") or {}, engine.get("energy") or {}
    if use.get("share_of_device"):
        share = use["share_of_device"]["value"]
        click.echo(
            f"roofline     {share:.0%} (estimated) of what this device can do; "
            f"most is lost in {', '.join(use['worst'])}"
        )
    elif use.get("reason"):
        click.echo(f"roofline     not drawn: {use['reason']}")
    for sensor in energy.get("sensors", ()):
        joules = interval(sensor["joules_per_inference"], unit=" J")
        click.echo(f"energy       {joules} an inference, {sensor['name']}: {sensor['covers']}")
    if energy and not energy["sensors"]:
        click.echo("energy       not measured: no power sensor answers here")


def _show_host(device: Mapping[str, Any]) -> None:
    host = device["host"]
    if host["accuracy"] is None:
        click.echo(f"here         not compared: {host['by']}")
        return
    click.echo(f"here         {interval(host['accuracy'], percent=True)}, by {host['by']}")
    click.echo(
        f"here → there {interval(host['agreement'], percent=True)} agree, "
        f"largest difference of a logit {host['max_abs']['value']:.3g}"
    )


def _warn(environment: Mapping[str, Any]) -> None:
    for warning in environment["warnings"]:
        click.echo(f"note: {warning}")
