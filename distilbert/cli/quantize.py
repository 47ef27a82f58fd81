# SPDX-License-Identifier: Apache-2.0
"""`distilbert quantize`: the best export in fewer bits that passes. The work is done in `distilbert/quantization`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.cli.console import grid, say, show, show_json, size, working
from distilbert.cli.options import Json
from distilbert.cli.recipe_options import with_options_of
from distilbert.quantization.recipe import QuantizeRecipe

if TYPE_CHECKING:
    from distilbert.quantization.result import Quantized, Row


@with_options_of(QuantizeRecipe, leave_out=["model_name_or_path", "output_dir"])
def quantize(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder or hub repository of a trained model.", show_default=False)
    ],
    target: Annotated[str, typer.Argument(metavar="DST", help="New or empty folder to write to.", show_default=False)],
    as_json: Json = False,
    **given: Any,
) -> None:
    """Export a trained model in fewer bits, by the scheme that is best on your data.

    Every scheme is written and measured on --eval, which is named as in
    finetune: size, speed, and how many points of the task's metric it loses.
    The best of those that lose no more than --max_drop becomes DST, whole or
    not at all.
    """
    from distilbert.cli.frameworks import load_quietly
    from distilbert.export.formats import FORMATS
    from distilbert.quantization.quantizing import run
    from distilbert.quantization.result import as_json as to_json
    from distilbert.quantization.schemes import parse

    recipe = QuantizeRecipe.from_dict({"model": model, "output": target, **given})
    schemes = parse(recipe.schemes, bool(recipe.calibration_file))
    load_quietly(dict.fromkeys(FORMATS[scheme.format].writer for scheme in schemes), "quantize")
    with working() as tell:
        done = run(recipe, tell)
    for row in done.rows:
        if row.problem:
            say("note", f"{row.scheme}: {row.problem}")
    if as_json:
        show_json(to_json(done))
    else:
        show(_table(done, recipe.max_drop))
    typer.echo(f"{done.output}: {done.chosen}", err=True)


def _table(done: Quantized, max_drop: float) -> Any:
    exact = {row.scheme.format: row for row in done.rows if row.scheme.dtype == "float32"}
    rows = [_cells(row, exact[row.scheme.format], done, max_drop) for row in done.rows]
    columns = ["size", "texts/s", "faster", done.metric, "drop"]
    return grid(f"Measured on {done.texts:,} texts", ["scheme", ""], columns, rows)


def _cells(row: Row, exact: Row, done: Quantized, max_drop: float) -> list[str]:
    if row.problem:
        return [str(row.scheme), "failed", "", "", "", "", ""]
    verdict = "chosen" if row.scheme == done.chosen else "passes" if row.drop <= max_drop else "refused"
    return [
        str(row.scheme),
        "" if row is exact else verdict,
        size(row.nbytes),
        f"{1 / row.seconds:,.0f}",
        f"{exact.seconds / row.seconds:.2f}x",
        f"{row.quality:.2f}",
        f"{row.drop:.2f}",
    ]
