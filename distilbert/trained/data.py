# SPDX-License-Identifier: Apache-2.0
"""Labelled data for a trained model: read as for training, but its labels have to be those that the model knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.trained.recipe import TrainedRecipe
from distilbert.trained.source import Source
from distilbert.training import tasks
from distilbert.training.tasks.file_task import FileTask


def open_task(recipe: TrainedRecipe, source: Source) -> FileTask:
    """What makes batches and metrics for a trained model; `task.recipe` is how `distilbert finetune` would read it."""
    config, is_sequence = source.config, source.task == "sequence-classification"
    problem = config.problem_type or ("regression" if config.num_labels == 1 else None)
    as_finetune = recipe.finetune_recipe(source.task, problem if is_sequence else None)
    return tasks.find(source.task)(as_finetune, source.tokenizer, config)


def read_first(task: FileTask, files: Sequence[Path], limit: int | None, config: DistilBertConfig) -> Any:
    """The examples of the first files that a task reads, which decide what kind of labels there are.

    Raises:
        InputError, FileError: lists what is wrong, with file and row; or the labels are not those of the model.
    """
    examples = task.read(files, limit, True)
    _check_labels(config, task.config_changes(), ", ".join(map(str, files)))
    return examples


def main_metric(task: FileTask) -> str:
    """The metric that counts; of masked language models one that is no loss."""
    return "accuracy" if task.model_task == "masked-lm" else task.main_metric


def points(task: FileTask, metric: str, found: Mapping[str, float]) -> float:
    """A metric in percent; those of answers to questions are that already."""
    return found[metric] * (1 if task.model_task == "question-answering" else 100)


def _check_labels(config: DistilBertConfig, changes: Mapping[str, Any], title: str) -> None:
    """Raise InputError for labels of the data that the model does not have."""
    names = changes.get("id2label", {})
    known = {number: f"LABEL_{number}" for number in range(config.num_labels)}
    fits = dict(names) == dict(config.id2label) or (dict(config.id2label) == known and len(names) == config.num_labels)
    if names and not fits:
        raise InputError(
            f"{title}: expected the labels of the model, {', '.join(config.id2label.values())}; "
            f"found {', '.join(names.values())}"
        )
