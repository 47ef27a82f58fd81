# SPDX-License-Identifier: Apache-2.0
"""`distilbert.finetune`: from a recipe to a trained model in a folder."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distilbert import backend as backends
from distilbert import hub, spec
from distilbert.convert import open_checkpoint
from distilbert.errors import InputError
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training import tasks
from distilbert.training.arguments import TrainingArguments
from distilbert.training.checkpoints import Checkpoints
from distilbert.training.engine import Engine, EngineSettings, World
from distilbert.training.loop import Training
from distilbert.training.output import Outcome, complete, data_reports, prepare_output
from distilbert.training.plans import tensor_plans
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.reports import Report


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
    files = {"train": task.files(recipe.train_file)}
    train, validation = task.read(files["train"], recipe.max_train_samples, True), None
    if recipe.validation_file:
        files["validation"] = task.files(recipe.validation_file)
        validation = task.read(files["validation"], recipe.max_eval_samples, False)
    check_evaluation(recipe, validation)
    changes = {**task.config_changes(), **dropout_changes(recipe)}
    with engine_class.loading(recipe.bf16):
        model = load_model(backend, source, task.model_task, recipe.seed, changes)
    objective = objectives_of(backend).TaskObjective(model.config, model.task, recipe.label_smoothing_factor)
    engine = engine_class(model, objective, engine_settings(recipe, model, world))
    prepare_output(recipe, world)
    checkpoints = Checkpoints(
        Path(recipe.output_dir), recipe.identity(), model.config, task.model_task, tokenizer, recipe.save_total_limit
    )
    with data_reports(recipe, world, reports) as told:
        training = Training(recipe, engine, task, train, validation, checkpoints, task.max_length, told)
        return complete(training, recipe.model_name_or_path, files)


def engine_of(backend: str, wanted_by: str) -> type[Engine]:
    """The engine of a framework; BackendError when it is not installed."""
    backends.load(backend, wanted_by)
    found: type[Engine] = importlib.import_module(f"distilbert.{backend}.training").Engine
    return found


def objectives_of(backend: str) -> Any:
    """The module with what models of a framework are trained for."""
    return importlib.import_module(f"distilbert.{backend}.objectives")


def engine_settings(arguments: TrainingArguments, model: Any, world: World) -> EngineSettings:
    """What an engine is told of a recipe."""
    return EngineSettings(
        plans=tensor_plans(arguments, model.config, model.task),
        beta1=arguments.adam_beta1,
        beta2=arguments.adam_beta2,
        epsilon=arguments.adam_epsilon,
        max_grad_norm=arguments.max_grad_norm,
        bf16=arguments.bf16,
        gradient_checkpointing=arguments.gradient_checkpointing,
        seed=arguments.seed,
        world=world,
        sharded=arguments.fsdp,
    )


def check_evaluation(arguments: TrainingArguments, validation: Any) -> None:
    """Raise InputError for what needs evaluations where there is no data for them."""
    if validation is not None:
        return
    patient = arguments.early_stopping_patience is not None
    wanted = ["load_best_model_at_end"] if arguments.load_best_model_at_end else []
    wanted += ["early_stopping_patience"] if patient else []
    if wanted:
        raise InputError(f"{' and '.join(wanted)}: name data to evaluate on (--eval)")


def dropout_changes(arguments: TrainingArguments) -> dict[str, float]:
    """Fields of the config that the recipe's dropout replaces."""
    if arguments.dropout is None:
        return {}
    return dict.fromkeys(("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"), arguments.dropout)


def load_model(backend: str, source: Path, task: str, seed: int, changes: dict[str, Any]) -> Any:
    """The model to begin with. A head that is drawn anew is what the user came for, and not warned of."""
    model_class = getattr(backends.load(backend, "training"), spec.TASKS[task].class_name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*(drawn anew|no place for it)")
        return model_class.from_pretrained(source, seed=seed, ignore_mismatched_sizes=True, **changes)
