# SPDX-License-Identifier: Apache-2.0
"""The folder of a training: what may be in it before, and what is in it in the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distilbert.errors import InputError
from distilbert.files import write_json
from distilbert.training.arguments import TrainingArguments
from distilbert.training.checkpoints import check_latest, saved_steps
from distilbert.training.engine import World
from distilbert.training.loop import Training
from distilbert.training.recipe_file import RECIPE_NAME, write_recipe
from distilbert.training.reports import Report
from distilbert.training.reports.documents import write_documents
from distilbert.training.reports.gathering import run_facts
from distilbert.training.reports.tensorboard import TensorBoardReport

CURVES = "runs"
RESULTS = "all_results.json"


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Attributes:
        output: the folder with the model.
        steps: taken so far.
        finished: whether these were all.
        metrics: of the model that is in the folder; empty without data to evaluate on.
        history: all lines of the log and evaluations.
        is_first: whether this process is the one of several that speaks to the user.
    """

    output: Path
    steps: int
    finished: bool
    metrics: dict[str, float]
    history: list[dict[str, float]]
    is_first: bool = True


def prepare_output(recipe: TrainingArguments, world: World) -> None:
    """Make the output folder, with the recipe in it; InputError if it holds something else, or another training."""
    folder = Path(recipe.output_dir)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; choose another output")
    if not world.is_first:
        return
    if recipe.overwrite_output_dir:
        _remove_training(folder)
    elif folder.exists() and any(folder.iterdir()) and not saved_steps(folder) and not (folder / RECIPE_NAME).exists():
        raise InputError(
            f"{folder}: is not empty and holds no training to go on with; "
            "choose another output folder, or write into this one with --overwrite_output_dir"
        )
    check_latest(folder, recipe.identity())
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob(".checkpoint-*.partial"):  # of a training that was killed while it wrote
        shutil.rmtree(unfinished)
    write_recipe(recipe, folder / RECIPE_NAME)


@contextmanager
def data_reports(recipe: TrainingArguments, world: World, reports: Sequence[Report]) -> Iterator[Sequence[Report]]:
    """The given reports and those that the recipe names, for the first process alone; closed in the end."""
    told: list[Report] = [*reports] if world.is_first else []
    if world.is_first and "tensorboard" in recipe.report_to:
        told.append(TensorBoardReport(Path(recipe.output_dir) / CURVES))
    try:
        yield told
    finally:
        for report in told:
            report.close()


def complete(training: Training, base_model: str, files: Mapping[str, Sequence[Path]]) -> Outcome:
    """Take the steps that are left; after the last, write the model and what there is to read of it.

    Args:
        training: to be run.
        base_model: what it starts from, as the user named it.
        files: of each split, for the card.
    """
    engine, folder, is_first = training.engine, training.checkpoints.folder, training.engine.settings.world.is_first
    try:
        training.resume()
        steps = training.run()
        metrics = _finish(training, base_model, files) if training.is_finished else {}
    finally:
        engine.close()
    return Outcome(folder, steps, training.is_finished, metrics, training.progress.history, is_first)


def _finish(training: Training, base_model: str, files: Mapping[str, Sequence[Path]]) -> dict[str, float]:
    """Write the trained model into the folder itself, and the documents; its metrics."""
    folder, weights = training.checkpoints.folder, training.final_weights()
    metrics = training.evaluate()
    if not training.engine.settings.world.is_first:
        return metrics
    training.checkpoints.write_model(folder, weights)
    write_json(folder / RESULTS, {"step": training.step, **metrics})
    facts = run_facts(
        training.arguments,
        training.plan(),
        base_model=base_model,
        model_task=training.engine.model.task,
        main_metric=training.main_metric,
        files=files,
        examples=training.example_counts(),
        steps=training.step,
        metrics=metrics,
    )
    write_documents(folder, facts, training.progress.history, training.arguments.certify)
    for report in training.reports:
        report.end(metrics)
    return metrics


def _remove_training(folder: Path) -> None:
    for step in saved_steps(folder):
        shutil.rmtree(folder / f"checkpoint-{step}")
    shutil.rmtree(folder / CURVES, ignore_errors=True)
