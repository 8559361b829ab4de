"""edgetl demo."""

from __future__ import annotations

from pathlib import Path

import click

from edgetl.cli.common import json_option
from edgetl.cli.run import story


@click.command()
@click.option(
    "-t", "--target", "targets", multiple=True, metavar="T", help="Device profile; may be repeated."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("edgetl-demo"), show_default=True)
@json_option
def command(targets: tuple[str, ...], out: Path, as_json: bool) -> int:
    """The whole story on 1,797 handwritten digits, which scikit-learn ships."""
    from edgetl.data.digits import write_digits
    from edgetl.pipeline import require_writable

    require_writable(out)
    images = write_digits(out / "images")
    return story(images, out, as_json, targets=targets)
