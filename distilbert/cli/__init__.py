# SPDX-License-Identifier: Apache-2.0
"""The command line: `distilbert COMMAND`. This file only puts the commands together; each has a file of its own.

Nothing here imports a framework. What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from distilbert import __version__
from distilbert.cli import (
    bench,
    convert,
    demo,
    distill,
    env,
    export,
    finetune,
    inspection,
    migrate,
    predict,
    prune,
    quantize,
    rescue,
    serve,
    tune,
    verify,
)
from distilbert.cli.failures import end_on_signals, flush_output, reported

app = typer.Typer(
    name="distilbert",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),  # options are found by either spelling
    },
)
for command in (
    convert.convert,
    inspection.inspect,
    verify.verify,
    migrate.migrate,
    rescue.rescue,
    finetune.finetune,
    tune.tune,
    distill.distill,
    prune.prune,
    export.export,
    quantize.quantize,
    predict.predict,
    serve.serve,
    bench.bench,
    demo.demo,
    env.env,
):
    app.command()(reported(command))


def main() -> None:
    """Run the command of this process's arguments, and end the process with its exit code."""
    end_on_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be text in the terminal's encoding
    try:
        app(prog_name="distilbert")
    finally:
        flush_output()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"distilbert {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Any DistilBERT checkpoint in PyTorch, TensorFlow and JAX, provably with the same numbers."""
