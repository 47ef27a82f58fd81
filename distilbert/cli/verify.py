# SPDX-License-Identifier: Apache-2.0
"""`distilbert verify`: the same numbers in every framework? The work is done in `distilbert/parity`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from distilbert.backend import installed
from distilbert.cli.console import say, show, show_json, working
from distilbert.cli.frameworks import load_quietly
from distilbert.cli.options import Backends, Json, Source, Task
from distilbert.errors import FileError


class Dtype(StrEnum):
    """The names in `distilbert.config.DTYPES`."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def verify(
    source: Source,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER",
            help="A second checkpoint, which must hold the same weights, bit by bit; or an export, which must agree.",
        ),
    ] = None,
    backends: Backends = None,
    dtype: Annotated[
        Dtype, typer.Option(metavar="DTYPE", help=f"Float type to compute in: {', '.join(Dtype)}.")
    ] = Dtype.FLOAT32,
    task: Task = None,
    gradients: Annotated[bool, typer.Option("--gradients", help="Compare the gradients of the loss too.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a heat map (.png, .svg or .pdf).")] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a JSON with versions, hashes of the files, and every error."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that a checkpoint gives the same numbers in every framework.

    Runs the same inputs through PyTorch, TensorFlow, JAX and NumPy, and
    compares every layer and output. Exit code 1 if a difference is too large.
    """
    from distilbert import hub
    from distilbert.convert import open_checkpoint
    from distilbert.export.running import export_folder
    from distilbert.parity.certify import verify as run

    _check_targets(plot, certificate)
    names = backends.split(",") if backends else None
    with working() as progress:
        for checkpoint in filter(None, (source, against)):  # what cannot be read is said before frameworks are imported
            found = hub.resolve(checkpoint)
            if checkpoint == source or not export_folder(found):
                open_checkpoint(found)
        load_quietly(names or installed(), "verify")
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


def _check_targets(plot: Path | None, certificate: Path | None) -> None:
    """Refuse now what could not be written after all the work."""
    for path in (plot, certificate):
        if path and not path.parent.is_dir():
            raise FileError(f"{path}: cannot be written, there is no folder {path.parent}")
    if plot:
        from distilbert.parity.picture import check_plot

        check_plot(plot)
