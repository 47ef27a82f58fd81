# SPDX-License-Identifier: Apache-2.0
"""The examples that heads are scored on, and those that a pruned model is evaluated on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert.pruning.recipe import ScoreRecipe
from distilbert.trained.data import open_task, read_first
from distilbert.trained.source import Source
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


def read_data(recipe: ScoreRecipe, source: Source) -> LabelledData:
    """The data that a recipe names, all of it checked.

    Raises:
        InputError, FileError: lists what is wrong, with file and row; or the labels are not those of the model.
    """
    task = open_task(recipe, source)
    files, validation = task.splits(), None
    train = read_first(task, files["train"], task.recipe.max_train_samples, source.config)
    if "validation" in files:
        validation = task.read(files["validation"], task.recipe.max_eval_samples, False)
    return LabelledData(task.recipe, task, task.config_changes().get("problem_type"), train, validation)
