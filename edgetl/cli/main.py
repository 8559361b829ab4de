"""The command line: a table of commands, each imported only when it is used."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Any

import click

from edgetl.errors import EdgetlError, MissingDependencyError

_COMMANDS = {
    "run": "The whole story: from a folder of images to measured engines.",
    "demo": "The same on real images that need no download.",
    "train": "Fit a new head on a frozen backbone.",
    "export": "Write a trained model as ONNX.",
    "quantize": "Quantize an ONNX with calibration images.",
    "build": "Build an engine from an ONNX and bundle it.",
    "bench": "Measure a bundle's accuracy, latency and placement.",
    "device": "Name devices reached over SSH, look at them, clean them.",
    "compare": "Say whether results became worse, beyond their intervals.",
    "predict": "Classify images with a bundle.",
    "verify": "Check a bundle's digests and replay its golden input.",
    "inspect": "Show what is inside a bundle or an engine, layer by layer.",
    "report": "Write report.html from results.json.",
    "targets": "List the device profiles, or show one.",
    "toolchain": "Install toolchains that need an environment of their own.",
    "backend": "List the backends, or run the conformance tests on one.",
    "doctor": "Say what is installed, what is missing, and what this machine can do.",
    "cache": "List or shrink the store of intermediate results.",
    "schema": "Print the JSON schema of results.json.",
}

_EXTRAS = {
    **dict.fromkeys(
        ("onnx", "onnxscript", "onnxslim", "safetensors", "sklearn", "timm", "torch", "torchvision"), "train"
    ),
    "nncf": "quantize",
    "onnxruntime": "onnxruntime",
    "onnxruntime_qnn": "qnn",
    "ai_edge_litert": "litert",
    "ethosu": "ethosu",
    "openvino": "openvino",
    "plotly": "report",
}
"""The extra that brings an optional module."""


class LazyGroup(click.Group):
    """Knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"edgetl.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="edgetl", message="%(prog)s %(version)s")
def cli(debug: bool) -> None:
    """From a folder of images to edge engines whose accuracy and latency were measured."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors become one line and an exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    try:
        result: Any = cli.main(args=arguments, prog_name="edgetl", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "edgetl: interrupted; what was finished is kept, the same command goes on from there", err=True
        )
        return 130
    except EdgetlError as error:
        _complain(str(error), debug)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRAS:
            raise
        missing = MissingDependencyError(package, _EXTRAS[package])
        _complain(str(missing), debug)
        return missing.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}", debug)
        return 1
    except Exception as error:
        if debug:
            raise
        _complain(f"internal error: {type(error).__name__}: {error} (run with --debug and report it)", debug)
        return 1
    return result if isinstance(result, int) else 0


def _complain(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    click.echo(f"edgetl: {message}", err=True)
