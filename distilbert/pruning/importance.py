# SPDX-License-Identifier: Apache-2.0
"""How much a trained model needs each attention head, by the measure of Michel, Levy and Neubig (2019).

A head's score is the mean, over examples, of the absolute value of the derivative of an example's loss by a factor on
what the head gives out, at the factor 1. Each example has factors of its own, so that a batch takes one backward pass.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import backend as backends
from distilbert.errors import AnswerError, InputError
from distilbert.pretrained import PreTrained
from distilbert.pruning.data import LabelledData, read_data
from distilbert.pruning.recipe import ScoreRecipe
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.trained.recipe import Files, listed
from distilbert.trained.source import Source, read_source
from distilbert.training.batch import WEIGHTS, Batch

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class HeadImportance:
    """Scores of all heads.

    Attributes:
        scores: (n_layers, n_heads), 0 for a head that was pruned before.
        examples: how many they are the mean of.
        pruned: the heads that were pruned before, by layer.
    """

    scores: Scores
    examples: int
    pruned: Mapping[int, tuple[int, ...]]

    def ranking(self) -> list[tuple[int, int]]:
        """(layer, head) of all heads that are there, the least important first."""
        layers, heads = np.unravel_index(np.argsort(self.scores, axis=None, kind="stable"), self.scores.shape)
        places = [(int(layer), int(head)) for layer, head in zip(layers, heads, strict=True)]
        return [(layer, head) for layer, head in places if head not in self.pruned.get(layer, ())]


def head_importance(
    model: str | os.PathLike[str] | PreTrained,
    data: Files,
    *,
    tokenizer: DistilBertTokenizer | None = None,
    **options: Any,
) -> HeadImportance:
    """How much a trained model needs each attention head for its task.

    Args:
        model: a checkpoint, or a model of any framework, which stays as it is.
        data: files with labelled examples, as `distilbert finetune` reads them.
        tokenizer: of a model in memory; a checkpoint has its own.
        options: `task`, `backend` and `normalize` (False for scores that are not divided by the length of their
            layer's), and how the data is read: `column`, `max_train_samples`, `max_seq_length` and what else
            `distilbert prune --help` lists.

    Raises:
        InputError, FileError: an option or the data cannot be used; lists all that is wrong.
        AnswerError: the derivatives are NaN or infinite.
        BackendError, WeightsError, ConfigError, TokenizerError, HubError: the model cannot be loaded.
    """
    name = "model" if isinstance(model, PreTrained) else str(model)
    recipe = ScoreRecipe.from_dict({"model": name, "train": listed(data), **options})
    if isinstance(model, PreTrained):
        if tokenizer is None or recipe.task is not None or recipe.backend is not None:
            raise InputError("head_importance: a model in memory needs its tokenizer, and has its task and backend")
        dtype = "float64" if model.config.dtype == "float64" else "float32"
        backend = model.backend
        source = Source(model.config, model.task, model.dump_tensors(), tokenizer, dtype=dtype)
    else:
        backend, source = backends.choose(recipe.backend), read_source(name, recipe.task)
    return HeadScorer(source, read_data(recipe, source), backend, recipe.normalize).importance()


class HeadScorer:
    """Scores the heads of one model on its data, as often as heads of it are taken away."""

    def __init__(self, source: Source, data: LabelledData, backend: str, normalize: bool) -> None:
        """Take a model, its data, and the framework to compute in."""
        self.source, self.data, self.normalize = source, data, normalize
        model = source.model(backend, whole=True)
        config = model.config.replace(problem_type=data.problem_type)
        objective = importlib.import_module(f"distilbert.{backend}.objectives").TaskObjective(config, source.task, 0.0)
        self.derivatives = importlib.import_module(f"distilbert.{backend}.importance").Derivatives(model, objective)
        self.dtype = np.dtype(model.config.dtype)

    def importance(self, pruned: Mapping[int, tuple[int, ...]] | None = None) -> HeadImportance:
        """The scores without the heads of `pruned`; by default without those that the model lacks."""
        config = self.source.config
        pruned = dict(config.pruned_heads if pruned is None else pruned)
        mask = np.ones((config.n_layers, config.n_heads))
        for layer, heads in pruned.items():
            mask[layer, list(heads)] = 0
        sums, counted = np.zeros(mask.shape), 0
        for batch in self.data.batches():
            found = per_example(self.derivatives, as_type(batch, self.dtype), mask.astype(self.dtype))
            sums += magnitudes(found)
            counted += int(batch[WEIGHTS].reshape(len(batch[WEIGHTS]), -1).any(1).sum())
        if not np.isfinite(sums).all():
            raise AnswerError("the derivatives of the loss are NaN or infinite, so no head can be scored")
        scores = sums * mask / max(counted, 1)
        return HeadImportance(normalized(scores) if self.normalize else scores, counted, pruned)


def per_example(derivatives: Any, batch: Batch, mask: NDArray[Any]) -> Scores:
    """Derivatives (n_layers, B, H) of each example's loss by factors on the heads, which are `mask` (n_layers, H)."""
    shape = batch["input_ids"].shape
    rows = math.prod(shape[:-1])  # of multiple choice there is one for each choice
    found = derivatives(batch, np.repeat(mask[:, None], rows, axis=1))
    shared = found.astype(np.float64).reshape(len(mask), shape[0], -1, mask.shape[1])
    return np.asarray(shared.sum(2))


def magnitudes(derivatives: Scores) -> Scores:
    """Sums (n_layers, H) over examples of absolute values: what one example gains and another loses counts twice."""
    return np.asarray(np.abs(derivatives).sum(1))


def normalized(scores: Scores) -> Scores:
    """Scores whose L2 norm is 1 in each layer; all zeros stay so."""
    lengths = np.linalg.norm(scores, axis=1, keepdims=True)
    return scores / np.where(lengths > 0, lengths, 1)


def as_type(batch: Batch, dtype: np.dtype[Any]) -> Batch:
    """A batch whose real numbers have the float type of a model."""
    return {name: values.astype(dtype) if values.dtype.kind == "f" else values for name, values in batch.items()}
