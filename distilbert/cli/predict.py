# SPDX-License-Identifier: Apache-2.0
"""`distilbert predict`: files through a pipeline. The work is done in `distilbert/predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.cli.console import plural, say
from distilbert.cli.frameworks import load_quietly, only_python_speaks
from distilbert.cli.progress import RowBar
from distilbert.errors import InputError, describe

if TYPE_CHECKING:
    from distilbert.predict import Summary
    from distilbert.predict.working import Reject


def predict(
    task: Annotated[str, typer.Argument(metavar="TASK", help="As in text-classification; an unknown name lists all.")],
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder or hub repository (org/name or org/name@revision).")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files (.csv, .tsv, .jsonl, .parquet, .arrow, text also .gz), patterns, folders, or - .",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to, by its suffix; - is standard output.")
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=NAME",
            help="Which column a field of the task is in, repeatable, as in text=sentence, choices=a,b,c.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Columns of the input that go into the output. Default: all.", show_default=False
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Before the names of the result columns.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Option of the pipeline, repeatable, as in top_k=3, truncation=true.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="pt, tf or flax. Default: the first installed.", show_default=False),
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32, bfloat16, float16, int8 or auto.")] = "float32",
    input_format: Annotated[
        str | None, typer.Option(metavar="NAME", help="csv, tsv, jsonl, parquet or arrow. Default: by the suffix.")
    ] = None,
    output_format: Annotated[str | None, typer.Option(metavar="NAME", help="The same of the output.")] = None,
    shard_rows: Annotated[
        int, typer.Option(metavar="N", min=1, help="Rows that are worked on and written together.")
    ] = 5000,
    overwrite: Annotated[bool, typer.Option(help="Replace the output if there is one.")] = False,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Work on a Ray cluster: RAY_ADDRESS, the one this machine is in, or a new one."),
    ] = False,
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The same on this one: HOST:PORT, auto or local.")
    ] = None,
) -> None:
    """Work through files: each row with its result. Rows without one are set aside, with the reason.

    A run that is killed goes on where it was when it is started again, and ends with the same bytes.
    """
    # Not one option with a value that can be left out: after it, TASK would be taken for the address.
    from distilbert.predict.job import make_job
    from distilbert.predict.run import run

    job = make_job(
        task,
        model,
        inputs,
        output,
        columns=column or (),
        keep=None if keep is None else [name for name in keep.split(",") if name],
        prefix=prefix,
        options=_parse_options(option or []),
        backend=backend,
        dtype=dtype,
        input_format=input_format,
        output_format=output_format,
        shard_rows=shard_rows,
    )
    if ray or ray_address:
        from distilbert.predict.on_ray import work_on_ray

        with only_python_speaks(), RowBar(in_bursts=True) as progress:
            summary = run(job, overwrite, progress, _say_reject, work_on_ray(ray_address))
    else:
        load_quietly([job.backend], "predict")
        with RowBar() as progress:
            summary = run(job, overwrite, progress, _say_reject)
    _say_summary(summary, output, progress.seconds)


def _parse_options(texts: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` as Python values: JSON where it is JSON, else text."""
    options: dict[str, Any] = {}
    problems = []
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            problems.append(f"{text!r}: expected NAME=VALUE, as in top_k=3")
        elif name in options:
            problems.append(f"{text!r}: {name} is named twice")
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
    if problems:
        raise InputError(describe("--option", problems))
    return options


def _say_reject(reject: Reject) -> None:
    say("warning", f"{reject.file}: row {reject.row}: set aside: {reject.reason}")


def _say_summary(summary: Summary, output: Path, seconds: float) -> None:
    fresh = summary.rows - summary.resumed
    rate = f", {fresh / seconds:,.0f} rows/s" if fresh and seconds else ""
    resumed = f" ({summary.resumed:,} of the input's were done before)" if summary.resumed else ""
    written = plural(summary.rows - summary.rejected, "row")
    typer.echo(f"{written} written to {output}{resumed}{rate}", err=True)
    if summary.rejected:
        where = f" in {summary.rejects}" if summary.rejects else ""
        say("warning", f"{plural(summary.rejected, 'row')} set aside{where}")
