# SPDX-License-Identifier: Apache-2.0
"""Options of the commands that can train on a Ray cluster, and the choice between there and here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from distilbert import backend
from distilbert.cli.console import say
from distilbert.cli.frameworks import load_quietly, only_python_speaks
from distilbert.cli.training_bar import TrainingBar
from distilbert.errors import InputError
from distilbert.training.arguments import TrainingArguments
from distilbert.training.reports.report import Report

Recipe = TypeVar("Recipe", bound=TrainingArguments)
Outcome = TypeVar("Outcome")

Ray = Annotated[
    bool,
    typer.Option("--ray", help="Train on a Ray cluster: RAY_ADDRESS, the one this machine is in, or a new one."),
]
RayAddress = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="The same on this one: HOST:PORT, auto or local.")
]
NumWorkers = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Processes that train together on the cluster. Default: 1.")
]


def train_here_or_on_ray(
    train: Callable[[Recipe, Sequence[Report]], Outcome],
    recipe: Recipe,
    wanted_by: str,
    ray: bool,
    address: str | None,
    workers: int | None,
) -> Outcome:
    """Train with a bar for the user; on a cluster where one of the options says so.

    Args:
        train: does it, as `finetune`.
        recipe: what to train.
        wanted_by: the command.
        ray, address, workers: values of the options.
    """
    if ray or address:
        from distilbert.training.on_ray import train_on_ray

        with only_python_speaks(), TrainingBar() as bar, _told_of_signals(recipe):
            return train_on_ray(train, recipe, [bar], workers=workers or 1, address=address)
    if workers:
        raise InputError("--num_workers: only with --ray or --ray_address")
    load_quietly([backend.choose(recipe.backend)], wanted_by)
    with TrainingBar() as bar, _told_of_signals(recipe):
        return train(recipe, [bar])


@contextmanager
def _told_of_signals(recipe: TrainingArguments) -> Iterator[None]:
    """Say after Ctrl-C and SIGTERM what is left of the training."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        from distilbert.training.checkpoints import saved_steps

        steps = saved_steps(Path(recipe.output_dir))
        kept = f"goes on after step {steps[-1]:,}" if steps else "begins anew, as there is no checkpoint yet"
        say("warning", f"{recipe.output_dir}: stopped; the same command {kept}")
        raise
