# SPDX-License-Identifier: Apache-2.0
"""`distilbert tune`: a search for the best values of a recipe. The work is done in `distilbert/training`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.cli.console import grid, show, show_json
from distilbert.cli.frameworks import only_python_speaks
from distilbert.cli.options import Json
from distilbert.cli.ray_options import RayAddress
from distilbert.cli.recipe_options import with_options_of
from distilbert.training.recipes import FinetuneRecipe

if TYPE_CHECKING:
    from distilbert.training.trials import TrialResult


@with_options_of(FinetuneRecipe, leave_out=["task", "stop_at_step", "certify"])
def tune(
    task_or_recipe: Annotated[
        str,
        typer.Argument(
            metavar="TASK_OR_RECIPE",
            help="As in text-classification (an unknown name lists all), or a recipe: a file .yaml, .yml or .json.",
            show_default=False,
        ),
    ],
    search: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUES",
            help="What to search, repeatable: learning_rate=loguniform(1e-5,1e-4), num_train_epochs=2,3,4.",
            show_default=False,
        ),
    ],
    num_samples: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Trials drawn at random. Default: all combinations of lists."),
    ] = None,
    asha: Annotated[bool, typer.Option(help="Stop trials that fall behind the others.")] = True,
    ray_address: RayAddress = None,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Search for the best values of a recipe: train with many, on a Ray cluster or this machine.

    Besides what follows it takes the options of finetune; the output is a folder
    with a folder for each trial, and the best of them. A search that is killed
    goes on where it was when it is started again.
    """
    from distilbert.training.recipe_file import is_recipe_file, make_recipe
    from distilbert.training.tuning import tune as run

    if is_recipe_file(task_or_recipe):
        recipe = make_recipe(FinetuneRecipe, given, Path(task_or_recipe))
    else:
        recipe = make_recipe(FinetuneRecipe, {"task": task_or_recipe, **given})
    with only_python_speaks():
        results = run(recipe, search, num_samples=num_samples, asha=asha, address=ray_address, tell=_say)
    if as_json:
        show_json([dataclasses.asdict(result) for result in results])
    else:
        _show(results)
    typer.echo(f"{Path(recipe.output_dir) / 'best'}: trial {results[0].trial}", err=True)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _show(results: Sequence[TrialResult]) -> None:
    """A table, the best first."""
    from distilbert.training.trials import as_text

    names = list(results[0].values)
    rows = [
        [
            str(result.trial),
            result.status,
            *(as_text(result.values[name]) for name in names),
            "" if result.score is None else f"{result.score:.4f}",
            f"{result.share:.0f} %",
        ]
        for result in results
    ]
    metric = (results[0].metric or "").removeprefix("eval_")
    show(grid("Trials", ["trial", "status"], [*names, metric, "steps"], rows))
