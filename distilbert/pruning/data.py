# SPDX-License-Identifier: Apache-2.0
"""Labelled data for a trained model: read as for training, but its labels have to be those that the model knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.pruning.recipe import DataRecipe
from distilbert.pruning.source import Source
from distilbert.training import tasks
from distilbert.training.batch import WEIGHTS, Batch, padded_length
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.tasks.file_task import FileTask


@dataclass(frozen=True)
class LabelledData:
    """What a trained model is measured on.

    Attributes:
        recipe: with which `distilbert finetune` would read the same.
        task: makes batches and metrics.
        problem_type: of sequence classification, as the config has it or the labels are; None for other tasks.
        train: examples to score heads on.
        validation: examples to evaluate on, if any.
    """

    recipe: FinetuneRecipe
    task: FileTask
    problem_type: str | None
    train: Any
    validation: Any | None

    def batches(self) -> Iterator[Batch]:
        """All examples to score heads on, the longest first; the labels of an example that count weigh 1 together."""
        size, multiple = self.recipe.per_device_eval_batch_size, self.recipe.pad_to_multiple_of
        order = np.argsort(-self.train.lengths, kind="stable")
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            length = padded_length(self.train.lengths[rows], multiple, self.task.max_length)
            batch = self.task.collate(self.train, rows, length, None)
            weights = batch[WEIGHTS].reshape(len(rows), -1).astype(np.float64)
            shares = weights / np.maximum(weights.sum(1, keepdims=True), 1)
            yield {**batch, WEIGHTS: shares.reshape(batch[WEIGHTS].shape)}


def read_data(recipe: DataRecipe, source: Source) -> LabelledData:
    """The data that a recipe names, all of it checked.

    Raises:
        InputError, FileError: lists what is wrong, with file and row; or the labels are not those of the model.
    """
    config, is_sequence = source.config, source.task == "sequence-classification"
    problem = config.problem_type or ("regression" if config.num_labels == 1 else None)
    as_finetune = recipe.finetune_recipe(source.task, problem if is_sequence else None)
    task = tasks.find(source.task)(as_finetune, source.tokenizer, config)
    files = task.splits()
    train, validation = task.read(files["train"], as_finetune.max_train_samples, True), None
    changes = task.config_changes()
    _check_labels(config, changes, ", ".join(map(str, files["train"])))
    if "validation" in files:
        validation = task.read(files["validation"], as_finetune.max_eval_samples, False)
    return LabelledData(as_finetune, task, changes.get("problem_type"), train, validation)


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
