# SPDX-License-Identifier: Apache-2.0
"""`distilbert.finetune`: from a recipe to a trained model in a folder."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from distilbert import backend as backends
from distilbert import hub
from distilbert.convert import open_checkpoint
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training import tasks
from distilbert.training.checkpoints import Checkpoints
from distilbert.training.loop import Training
from distilbert.training.output import Outcome, check_output, complete, contents, data_reports, prepared_output
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.reports import Report
from distilbert.training.starting import (
    check_evaluation,
    check_smoothing,
    dropout_changes,
    engine_of,
    engine_settings,
    load_model,
)


def finetune(recipe: FinetuneRecipe, reports: Sequence[Report] = ()) -> Outcome:
    """Train a model for a task.

    A training whose folder holds checkpoints goes on from the newest. All data is read and checked before the first
    step.

    Args:
        recipe: what to train, on what, and how.
        reports: who is told how it goes, besides those that the recipe names.

    Raises:
        InputError, FileError: the recipe, the data or the output folder cannot be used; lists all that is wrong.
        TrainingError: the loss is no number any more, or another process is gone.
        BackendError, WeightsError, ConfigError, TokenizerError, HubError: the model cannot be loaded.
    """
    backend = backends.choose(recipe.backend)
    engine_class = engine_of(backend, "finetune")
    world = engine_class.join()
    source = hub.resolve(recipe.model_name_or_path)
    tokenizer = DistilBertTokenizer.from_pretrained(source if source.is_dir() else source.parent)
    task = tasks.find(recipe.task)(recipe, tokenizer, open_checkpoint(source).config)
    check_evaluation(recipe, recipe.validation_file or None)
    files = task.splits()
    identity = {
        **recipe.identity(world.size),
        **{f"content of {name} data": contents(paths) for name, paths in files.items()},
    }
    if world.is_first:
        check_output(recipe, identity, [source])
    train, validation = task.read(files["train"], recipe.max_train_samples, True), None
    if recipe.validation_file:
        validation = task.read(files["validation"], recipe.max_eval_samples, False)
    changes = {**task.config_changes(), **dropout_changes(recipe)}
    with engine_class.loading(recipe.bf16):
        model = load_model(backend, source, task.model_task, recipe.seed, changes)
    check_smoothing(recipe, model)
    objectives = importlib.import_module(f"distilbert.{backend}.objectives")
    objective = objectives.TaskObjective(model.config, model.task, recipe.label_smoothing_factor)
    engine = engine_class(model, objective, engine_settings(recipe, model, world))
    checkpoints = Checkpoints(
        Path(recipe.output_dir), identity, model.config, task.model_task, tokenizer, recipe.save_total_limit
    )
    with prepared_output(recipe, world, identity), data_reports(recipe, world, reports) as told:
        training = Training(recipe, engine, task, train, validation, checkpoints, task.max_length, told)
        return complete(training, recipe.model_name_or_path, files)
