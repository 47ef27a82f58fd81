# SPDX-License-Identifier: Apache-2.0
"""`distilbert finetune`: a model for a task, from examples in files. The work is done in `distilbert/training`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.cli.console import fact_table, plural, say, show, show_json
from distilbert.cli.options import Json
from distilbert.cli.ray_options import NumWorkers, Ray, RayAddress, train_here_or_on_ray
from distilbert.cli.recipe_options import with_options_of
from distilbert.training.recipes import FinetuneRecipe

if TYPE_CHECKING:
    from distilbert.training.output import Outcome


@with_options_of(FinetuneRecipe, leave_out=["task"])
def finetune(
    task_or_recipe: Annotated[
        str,
        typer.Argument(
            metavar="TASK_OR_RECIPE",
            help="As in text-classification (an unknown name lists all), or a recipe: a file .yaml, .yml or .json.",
            show_default=False,
        ),
    ],
    as_json: Json = False,
    ray: Ray = False,
    ray_address: RayAddress = None,
    num_workers: NumWorkers = None,
    **given: Any,
) -> None:
    """Train a model for a task, in any framework.

    A recipe file holds the same names as the options, which replace its values.
    A training that is killed goes on where it was when it is started again, and
    ends with the same weights.
    """
    from distilbert.training.finetuning import finetune as train
    from distilbert.training.recipe_file import is_recipe_file, make_recipe

    if is_recipe_file(task_or_recipe):
        recipe = make_recipe(FinetuneRecipe, given, Path(task_or_recipe))
    else:
        recipe = make_recipe(FinetuneRecipe, {"task": task_or_recipe, **given})
    outcome = train_here_or_on_ray(train, recipe, "finetune", ray, ray_address, num_workers)
    say_outcome(outcome, as_json)


def say_outcome(outcome: Outcome, as_json: bool) -> None:
    """Metrics to standard output, and where the model is to standard error; of several processes one does."""
    if not outcome.is_first:
        return
    if as_json:
        show_json({"output": str(outcome.output), "steps": outcome.steps, "metrics": dict(outcome.metrics)})
    elif outcome.metrics:
        show(fact_table([(name.removeprefix("eval_"), f"{value:.4f}") for name, value in outcome.metrics.items()]))
    if outcome.finished:
        typer.echo(f"{outcome.output}: trained in {plural(outcome.steps, 'step')}", err=True)
    else:
        say("warning", f"{outcome.output}: stopped after {plural(outcome.steps, 'step')}; the same command goes on")
