# SPDX-License-Identifier: Apache-2.0
"""`distilbert finetune` as a function: from a recipe to a trained model in a folder."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert import backend as backends
from distilbert import hub, spec
from distilbert.convert import open_checkpoint
from distilbert.errors import InputError
from distilbert.files import write_json
from distilbert.tables import find_inputs
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training import tasks
from distilbert.training.checkpoints import Checkpoints, saved_steps
from distilbert.training.engine import Engine, EngineSettings, World
from distilbert.training.evaluation import evaluate
from distilbert.training.loop import Training
from distilbert.training.plans import tensor_plans
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.reports import Report


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Attributes:
        output: the folder with the model.
        steps: taken so far.
        finished: whether these were all.
        metrics: of the model that is in the folder; empty without data to evaluate on.
        history: all lines of the log and evaluations.
    """

    output: Path
    steps: int
    finished: bool
    metrics: dict[str, float]
    history: list[dict[str, float]]


def finetune(recipe: FinetuneRecipe, reports: Sequence[Report] = ()) -> Outcome:
    """Train a model for a task.

    A training whose folder holds checkpoints goes on from the newest. All data is read and checked before the first
    step.

    Args:
        recipe: what to train, on what, and how.
        reports: who is told how it goes.

    Raises:
        InputError, FileError: the recipe, the data or the output folder cannot be used; lists all that is wrong.
        TrainingError: the loss is no number any more.
        BackendError, WeightsError, ConfigError, TokenizerError, HubError: the model cannot be loaded.
    """
    backend = backends.choose(recipe.backend)
    engine_class = engine_of(backend)
    world = engine_class.join()
    source = hub.resolve(recipe.model_name_or_path)
    tokenizer = DistilBertTokenizer.from_pretrained(source if source.is_dir() else source.parent)
    task = tasks.find(recipe.task)(recipe, tokenizer)
    longest = min(recipe.max_seq_length, open_checkpoint(source).config.max_position_embeddings)
    train = task.read(find_inputs(recipe.train_file), recipe.max_train_samples, True)
    validation = None
    if recipe.validation_file:
        validation = task.read(find_inputs(recipe.validation_file), recipe.max_eval_samples, False)
    _check_evaluation(recipe, validation)
    with engine_class.loading(recipe.bf16):
        model = _load(source, backend, task, recipe)
    prepare_output(recipe, world)
    engine = make_engine(engine_class, model, recipe, world)
    checkpoints = Checkpoints(
        Path(recipe.output_dir), recipe.identity(), model.config, task.model_task, tokenizer, recipe.save_total_limit
    )
    training = Training(recipe, engine, task, train, validation, checkpoints, longest, reports)
    try:
        steps = training.run()
        metrics = finish(training) if training.is_finished else {}
    finally:
        engine.close()
    return Outcome(Path(recipe.output_dir), steps, training.is_finished, metrics, training.progress.history)


def engine_of(backend: str) -> type[Engine]:
    """The engine of a framework; BackendError when it is not installed."""
    backends.load(backend, "finetune")
    found: type[Engine] = importlib.import_module(f"distilbert.{backend}.training").Engine
    return found


def make_engine(engine_class: type[Engine], model: Any, recipe: FinetuneRecipe, world: World) -> Engine:
    """An engine that trains a model for its own task."""
    module = importlib.import_module(engine_class.__module__)
    settings = EngineSettings(
        plans=tensor_plans(recipe, model.config, model.task),
        beta1=recipe.adam_beta1,
        beta2=recipe.adam_beta2,
        epsilon=recipe.adam_epsilon,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        gradient_checkpointing=recipe.gradient_checkpointing,
        seed=recipe.seed,
        world=world,
        sharded=recipe.fsdp,
    )
    objective = module.TaskObjective(model.config, model.task, recipe.label_smoothing_factor)
    return engine_class(model, objective, settings)


def prepare_output(recipe: FinetuneRecipe, world: World) -> None:
    """Make the output folder; InputError if it holds something else than a training."""
    folder = Path(recipe.output_dir)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; choose another output")
    if not world.is_first:
        return
    if recipe.overwrite_output_dir:
        for step in saved_steps(folder):
            shutil.rmtree(folder / f"checkpoint-{step}")
    elif folder.exists() and any(folder.iterdir()) and not saved_steps(folder):
        raise InputError(
            f"{folder}: is not empty and holds no checkpoint to go on from; "
            "choose another output folder, or write into this one with --overwrite_output_dir"
        )
    folder.mkdir(parents=True, exist_ok=True)


def finish(training: Training) -> dict[str, float]:
    """Write the trained model into the folder itself; its metrics."""
    recipe, engine, checkpoints = training.arguments, training.engine, training.checkpoints
    state, best = engine.state(), training.progress.best_step
    if recipe.load_best_model_at_end and best is not None and best != state.step:
        state = checkpoints.load(best)[0]
        engine.load_state(state)
    metrics: dict[str, float] = {}
    if training.validation is not None:
        metrics = evaluate(
            engine,
            training.task,
            training.validation,
            recipe.per_device_eval_batch_size,
            recipe.pad_to_multiple_of,
            training.longest,
        )
    if engine.settings.world.is_first:
        checkpoints.write_model(checkpoints.folder, state.weights)
        write_json(checkpoints.folder / "all_results.json", {"step": state.step, **metrics})
    return metrics


def _check_evaluation(recipe: FinetuneRecipe, validation: Any) -> None:
    wanted = [
        name
        for name, value in (
            ("load_best_model_at_end", recipe.load_best_model_at_end),
            ("early_stopping_patience", recipe.early_stopping_patience is not None),
        )
        if value and validation is None
    ]
    if wanted:
        raise InputError(f"{' and '.join(wanted)}: name data to evaluate on (--eval)")


def _load(source: Path, backend: str, task: Any, recipe: FinetuneRecipe) -> Any:
    """The model to begin with. A head that is drawn anew is what the user came for, and not warned of."""
    changes = dict(task.config_changes())
    if recipe.dropout is not None:
        changes |= dict.fromkeys(("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"), recipe.dropout)
    model_class = getattr(backends.load(backend, "finetune"), spec.TASKS[task.model_task].class_name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*drawn.*")
        return model_class.from_pretrained(source, seed=recipe.seed, ignore_mismatched_sizes=True, **changes)
