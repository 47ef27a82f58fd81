# SPDX-License-Identifier: Apache-2.0
"""`distilbert export`: a checkpoint as a file for another runtime. The work is done in `distilbert/export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.cli.console import fact_table, show, show_json, size, working
from distilbert.cli.frameworks import load_quietly
from distilbert.cli.options import Json, Revision, Source, Task, Variant
from distilbert.defaults import MAX_DROP
from distilbert.errors import InputError

if TYPE_CHECKING:
    from distilbert.export.exporting import Export


def export(
    source: Source,
    target: Annotated[Path, typer.Argument(metavar="DST", help="New or empty folder to write to.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT", help="onnx, openvino, litert, saved-model, stablehlo or torch-export.", show_default=False
        ),
    ],
    dtype: Annotated[
        str,
        typer.Option(
            metavar="DTYPE",
            help="float32, float16, bfloat16, or int8 for weights in 8 bits; not every format has all.",
        ),
    ] = "float32",
    max_drop: Annotated[
        float, typer.Option(metavar="POINTS", min=0, help="Of int8: how much correlation with the source may be lost.")
    ] = MAX_DROP,
    task: Task = None,
    variant: Variant = None,
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Export a checkpoint, and check that the file gives its numbers.

    The file takes input_ids and attention_mask of any batch and length.
    DST also gets config and tokenizer, so that pipeline, predict and serve
    run it. It appears whole, or not at all.
    """
    from distilbert.export.exporting import check_options, export_checkpoint, require
    from distilbert.export.formats import STATIC_INT8, find
    from distilbert.files import check_new_folder

    row = find(format)
    if dtype == STATIC_INT8 and dtype in row.dtypes:
        raise InputError(
            f"dtype: {dtype} needs texts to measure ranges on: "
            f"distilbert quantize MODEL DST --scheme {format}:{dtype} --eval FILE --calibrate FILE"
        )
    check_options(row, dtype, ())
    check_new_folder(target)
    require(row)
    with working() as progress:
        progress("importing frameworks")
        load_quietly([row.writer], "export")
        progress(f"writing {row.name}")
        done = export_checkpoint(
            source, target, format, task=task, dtype=dtype, max_drop=max_drop, variant=variant, revision=revision
        )
    if as_json:
        show_json(_as_json(done, source, target))
    else:
        show(fact_table(_facts(done, source, target)))


def _facts(done: Export, source: str, target: Path) -> list[tuple[str, str]]:
    facts = [
        ("source", source),
        ("task", done.task),
        ("written", str(target)),
        ("", f"{done.format.name} in {done.dtype}, {size(done.nbytes)}: {done.format.file}"),
    ]
    for found in done.measurements:
        accepted = max(found.bound, found.rounding)
        facts.append(("parity", f"{found.layer}: off by {found.text} of the largest value, accepted {accepted:.0e}"))
    if done.drop is not None:
        facts.append(("parity", f"{done.drop:.2f} points of correlation with the source's answers lost"))
    return facts


def _as_json(done: Export, source: str, target: Path) -> dict[str, Any]:
    from distilbert.parity.exports import as_json

    return {
        "source": source,
        "target": str(target),
        "format": done.format.name,
        "task": done.task,
        "dtype": done.dtype,
        "files": list(done.files),
        "bytes": done.nbytes,
        "parity": {found.layer: as_json(found) for found in done.measurements},
        "drop": done.drop,
    }
