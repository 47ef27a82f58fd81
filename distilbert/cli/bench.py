# SPDX-License-Identifier: Apache-2.0
"""`distilbert bench`: how fast, beside what else there is? The work is done in `distilbert/bench`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilbert.cli.console import show, working
from distilbert.errors import FileError

if TYPE_CHECKING:
    from distilbert.bench.run import Run


class Suite(StrEnum):
    """The names in `distilbert.bench.suites.TITLES`, here so that `--help` need not import them."""

    LATENCY = "latency"
    RAGGED = "ragged"
    TRAINING = "training"
    LOAD = "load"
    CONVERT = "convert"
    IMPORT = "import"
    LIMITS = "limits"


def bench(
    suite: Annotated[
        list[Suite] | None,
        typer.Option(
            metavar="NAME",
            help=f"What to measure, repeatable: {', '.join(Suite)}. Default: latency.",
            show_default=False,
        ),
    ] = None,
    contenders: Annotated[
        str,
        typer.Option(
            metavar="LIST", help="Who takes part, as in ours-pt,hf-pt,onnxruntime:int8. An unknown name lists them."
        ),
    ] = "all",
    model: Annotated[
        str | None,
        typer.Option(metavar="SRC", help="Folder or hub repository. Default: base size, random weights."),
    ] = None,
    shapes: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Batch x tokens, as in 1x16,8x128, of latency and training."),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts for ragged, one in each line. Default: SST-2 of the test data."),
    ] = None,
    baseline: Annotated[str, typer.Option(metavar="NAME", help="Whom the others are compared with.")] = "hf-pt",
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="How often each has its turn.")] = 8,
    seconds: Annotated[
        float, typer.Option(metavar="N", min=0, help="For each contender and case, over all rounds.")
    ] = 4.0,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="CPUs that each may use. Default: all.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all times, versions and the machine.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw bars (.png, .svg or .pdf).")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as a page.")] = None,
) -> None:
    """Measure speed side by side: ours, transformers, ONNX Runtime, KerasHub.

    Each contender runs in a process of its own, and they take turns.
    Exit code 1 if one of them failed; the others are measured all the same.
    """
    _check_targets(json_file, picture, markdown)
    names = list(dict.fromkeys(map(str, suite or [Suite.LATENCY])))
    from distilbert.bench.catalogue import choose, full_name
    from distilbert.bench.run import Settings, run
    from distilbert.bench.suites import LATENCY_SHAPES, TRAINING_SHAPES, parse_shapes
    from distilbert.bench.table import render

    settings = Settings(
        names,
        choose(contenders, names),
        model,
        texts,
        parse_shapes(shapes or LATENCY_SHAPES),
        parse_shapes(shapes or TRAINING_SHAPES),
        full_name(baseline),
        rounds,
        seconds,
        threads,
    )
    with working() as progress:
        found = run(settings, progress)
    _write(found, json_file, picture, markdown)
    show(render(found))
    raise typer.Exit(1 if found.failures else 0)


def _check_targets(json_file: Path | None, picture: Path | None, markdown: Path | None) -> None:
    """Refuse now what could not be written after all the work."""
    for path in filter(None, (json_file, picture, markdown)):
        if not path.parent.is_dir():
            raise FileError(f"{path}: cannot be written, there is no folder {path.parent}")
    if picture:
        from distilbert.parity.picture import check_plot

        check_plot(picture)


def _write(found: Run, json_file: Path | None, picture: Path | None, markdown: Path | None) -> None:
    if json_file:
        from distilbert.bench.record import write_record

        write_record(found, json_file)
    if picture:
        from distilbert.bench.picture import write_picture

        write_picture(found, picture)
    if markdown:
        from distilbert.bench.markdown import write_page

        write_page(found, markdown, picture)
