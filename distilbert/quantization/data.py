# SPDX-License-Identifier: Apache-2.0
"""What quantized models are measured on: sequences of token ids, and how good the answers for them are.

Two kinds: the tasks that models are trained for, and pairs of texts with a similarity for a bare encoder, which learns
nothing here but is used for sentence vectors all the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert.inference.fast_model import FastModel
from distilbert.inference.quality import rank_correlation
from distilbert.pipelines.scores import unit
from distilbert.pipelines.sentence_embedding import SentenceEmbedding
from distilbert.quantization.recipe import QuantizeRecipe
from distilbert.quantization.similarity import Pairs, read_pairs
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.trained.data import main_metric, open_task, points, read_first
from distilbert.trained.source import Source
from distilbert.training.tasks.file_task import FileTask
from distilbert.training.tasks.text_classification import TextClassification


class Data(ABC):
    """Examples to measure on.

    Attributes:
        metric: what is measured.
        sequences: token ids of each text; of multiple choice a list of them for each question.
        places: of masked language models the tokens of each text that are guessed.
        calibration: sequences to measure ranges of activations on.
    """

    metric: str
    sequences: list[Any]
    places: list[Any] | None = None
    calibration: list[Any]

    @abstractmethod
    def quality(self, fast: FastModel) -> float:
        """How good a model's answers are, from 0 to 100."""


@dataclass
class TaskData(Data):
    """Examples of a task, with the metrics of `distilbert finetune`."""

    task: FileTask
    examples: Any
    calibration: list[Any]

    def __post_init__(self) -> None:
        self.metric = main_metric(self.task)
        rows = [_row(self.task, self.examples, row) for row in range(len(self.examples))]
        self.sequences = [ids for ids, _ in rows]
        if self.task.model_task == "masked-lm":
            self.places = [places for _, places in rows]

    def quality(self, fast: FastModel) -> float:
        answers = enumerate(fast.run(self.sequences, self.places))
        kept = [self.task.kept(self.examples, row, answer) for row, answer in answers]
        return points(self.task, self.metric, self.task.score(self.examples, kept))


@dataclass
class SimilarityData(Data):
    """Pairs of texts: how well the cosines of their vectors rank them (Spearman)."""

    pairs: Pairs
    folder: Path | None
    tokenizer: DistilBertTokenizer
    calibration: list[Any]
    max_length: int
    metric: str = "spearmanr"

    def __post_init__(self) -> None:
        self.sequences = self.pairs.ids

    def quality(self, fast: FastModel) -> float:
        pipe = SentenceEmbedding(fast, self.tokenizer, self.folder, max_length=self.max_length)
        units = unit(np.array(pipe(self.pairs.texts)))
        return 100 * rank_correlation((units[::2] * units[1::2]).sum(1).tolist(), self.pairs.labels.tolist())


def read_data(recipe: QuantizeRecipe, source: Source) -> Data:
    """The data that a recipe names, all of it checked.

    Raises:
        InputError, FileError: lists what is wrong, with file and row; or the labels are not those of the model.
    """
    if source.task == "encoder":
        return _read_similarity(recipe, source)
    task = open_task(recipe, source)
    examples = read_first(task, task.files(recipe.validation_file), recipe.max_eval_samples, source.config)
    calibration = []
    if recipe.calibration_file:
        found = task.read(task.files(recipe.calibration_file), recipe.max_calibration_samples, False)
        calibration = [_row(task, found, row)[0] for row in range(len(found))]
    return TaskData(task, examples, calibration)


def _read_similarity(recipe: QuantizeRecipe, source: Source) -> SimilarityData:
    as_finetune = recipe.finetune_recipe("text-classification", None)
    task = TextClassification(as_finetune, source.tokenizer, source.config)
    pairs = read_pairs(task, task.files(recipe.validation_file), recipe.max_eval_samples)
    calibration: list[Any] = []
    if recipe.calibration_file:
        calibration = read_pairs(task, task.files(recipe.calibration_file), recipe.max_calibration_samples).ids
    folder = None if source.checkpoint is None else source.checkpoint.weights.parent
    return SimilarityData(pairs, folder, source.tokenizer, calibration, task.max_length)


def _row(task: FileTask, examples: Any, row: int) -> tuple[Any, list[int] | None]:
    """Token ids of an example, and which of them are guessed."""
    batch = task.collate(examples, np.array([row]), int(examples.lengths[row]), None)
    ids, mask = batch["input_ids"][0], batch["attention_mask"][0].astype(bool)
    chosen = batch.get("places")
    places = None if chosen is None else chosen[0].tolist()
    if ids.ndim == 2:
        return [one[kept].tolist() for one, kept in zip(ids, mask, strict=True)], None
    return ids[mask].tolist(), places
