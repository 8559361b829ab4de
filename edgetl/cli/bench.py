"""edgetl bench BUNDLE."""

from __future__ import annotations

from pathlib import Path

import click

from edgetl.cli.common import json_option, make_context, print_json
from edgetl.cli.run import gate_status
from edgetl.cli.text import interval, skipped_line


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="DIR", help="Labelled images: measure accuracy too."
)
@click.option(
    "--max-latency", type=click.FloatRange(min=0, min_open=True), metavar="MS", help="Gate: p50 latency, ms."
)
@click.option(
    "--max-fallback",
    type=click.FloatRange(0, 100),
    default=0,
    show_default=True,
    metavar="PCT",
    help="Gate: share of nodes, or of time, that may run elsewhere than on the device asked for.",
)
@click.option(
    "--on", multiple=True, metavar="DEVICE", help="Measure there, by name or ssh://user@host; repeatable."
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
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure a bundle, here or on devices: latency, throughput, placement, accuracy on unseen images."""
    from edgetl import api

    results = api.bench(
        bundle,
        images,
        on=on,
        max_latency=max_latency,
        max_fallback=max_fallback / 100,
        context=make_context(),
    )
    if out:
        from edgetl.results import write_results

        write_results(results, out)
    if as_json:
        print_json(results)
        return gate_status(results)
    engine = results["engines"][0]
    latency = engine["latency_ms"]
    executed = ", ".join(f"{count} {name}" for name, count in engine["precision_detail"]["executed"].items())
    click.echo(f"accuracy     {interval(engine['accuracy'], percent=True)}")
    for name in ("p50", "p90", "p99"):
        text = interval(latency[name], unit=" ms") if latency[name] else "not enough samples"
        click.echo(f"{name} latency  {text}")
    click.echo(f"throughput   {interval(engine['throughput_per_s'], unit=' images/s')}")
    click.echo(f"precision    {engine['precision']} (layers: {executed})")
    click.echo(
        f"placement    {engine['placement']['device']}, {engine['placement']['share_of_nodes']:.0%} of nodes"
    )
    for note in (*results["notes"], *engine["latency_notes"], *results["environment"]["warnings"]):
        click.echo(f"note: {note}")
    click.echo(skipped_line(results["skipped"]), nl=bool(results["skipped"]))
    return gate_status(results)
