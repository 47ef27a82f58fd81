# SPDX-License-Identifier: Apache-2.0
"""`distilbert distill`: a small model that answers as a large one. The work is done in `distilbert/training`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from distilbert.cli.finetune import say_outcome
from distilbert.cli.options import Json
from distilbert.cli.ray_options import NumWorkers, Ray, RayAddress, train_here_or_on_ray
from distilbert.cli.recipe_options import with_options_of
from distilbert.training.distillation.recipe import DistillRecipe


@with_options_of(DistillRecipe)
def distill(
    recipe_file: Annotated[
        Path | None,
        typer.Argument(metavar="[RECIPE]", help="A recipe: a file .yaml, .yml or .json.", show_default=False),
    ] = None,
    as_json: Json = False,
    ray: Ray = False,
    ray_address: RayAddress = None,
    num_workers: NumWorkers = None,
    **given: Any,
) -> None:
    """Make a student from some of a teacher's layers, and train it on text to answer alike.

    A recipe file holds the same names as the options, which replace its values.
    A training that is killed goes on where it was when it is started again.
    """
    from distilbert.training.distillation.distilling import distill as train
    from distilbert.training.recipe_file import make_recipe

    recipe = make_recipe(DistillRecipe, given, recipe_file)
    outcome = train_here_or_on_ray(train, recipe, "distill", ray, ray_address, num_workers)
    say_outcome(outcome, as_json)
