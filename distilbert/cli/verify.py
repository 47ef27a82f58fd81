# SPDX-License-Identifier: Apache-2.0
"""`distilbert verify`: the same numbers in every framework? The work is done in `distilbert/parity`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from distilbert import spec
from distilbert.backend import BACKENDS
from distilbert.cli.console import say, show, show_json
from distilbert.cli.options import Json, Source, checked


class Dtype(StrEnum):
    """The names in `distilbert.config.DTYPES`."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def _backend_names(text: str) -> str:
    names = text.split(",")
    if not set(names) <= BACKENDS.keys():
        raise ValueError(f"expected a list such as {','.join(BACKENDS)}; found {text!r}")
    return text


def _task_name(text: str) -> str:
    return spec.find_task(text).name


def verify(
    source: Source,
    against: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="A second checkpoint, which must hold the same weights, bit by bit."),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            callback=checked(_backend_names),
            help=f"Frameworks to run, as in {','.join(BACKENDS)}. Default: all that are installed.",
        ),
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option(metavar="DTYPE", help=f"Float type to compute in: {', '.join(Dtype)}.")
    ] = Dtype.FLOAT32,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            callback=checked(_task_name),
            help=f"Model to run: {', '.join(spec.TASKS)}. Default: the one it is.",
        ),
    ] = None,
    gradients: Annotated[bool, typer.Option("--gradients", help="Compare the gradients of the loss too.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a heat map (.png, .svg or .pdf).")] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a JSON with versions, hashes of the files, and every error."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that a checkpoint gives the same numbers in every framework.

    Runs the same inputs through PyTorch, TensorFlow, JAX and a NumPy reference, and compares every layer and output.
    The exit code is 0 if every difference is within its bound, 1 if not.
    """
    from distilbert.parity.certify import verify as run
    from distilbert.parity.picture import check_plot

    if plot:
        check_plot(plot)
    names = backends.split(",") if backends else None
    with _progress() as progress:
        report = run(source, against, names, str(dtype), task=task, gradients=gradients, progress=progress)
    if as_json:
        show_json(report.to_dict())
    else:
        from distilbert.parity.table import render

        show(render(report))
    if certificate:
        from distilbert.parity.certificate import write_certificate

        write_certificate(report, certificate)
    if plot and report.measurements:
        from distilbert.parity.picture import write_plot

        write_plot(report, plot)
    elif plot:
        say("warning", f"{plot}: not written, for no outputs were compared")
    raise typer.Exit(0 if report.ok else 1)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What tells a terminal what is happening; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda step: status.update(f"{step} ...")
