# SPDX-License-Identifier: Apache-2.0
"""Batches for distillation. What the objectives of the three frameworks must compute from them is said here.

**Masked language modelling** (`Distillation`), B texts of T tokens, P places to guess, V pieces:

    input_ids, attention_mask    (B, T) int32      masked text; what teacher and student both see
    places, labels               (B, P) int32      where to guess, and what was there; filled up with 0
    weights                      (B, P) float32    of the masked LM's cross-entropy; 0 for what fills up
    token_weights                (B, T) float32    of the soft cross-entropy and the cosine: 1 for a real token

and with a cache, in place of the teacher (shapes with P for T where `restrict_ce_to_mask`; else absent):

    teacher_ids                  (B, T, K) int32       if alpha_ce is not 0
    teacher_probabilities        (B, T, K + 1) float32
    teacher_hidden               (B, T, d) float32     if alpha_cos is not 0

With s = student logits, t = teacher logits (B, T, V), both (B, P, V) at `places` where these suffice, which is where
the cross-entropy is restricted to them or alpha_ce is 0 (`LossSettings.at_masks`); h = the student's last hidden states
(B, T, d), g = the teacher's `[..., coordinates]`; T0 = temperature, the loss is the sum of

    ce   alpha_ce T0^2  sum(w [sum_v p (log p - log q)])       p = softmax(t / T0), q = softmax(s / T0);
                                                               w = token_weights, or weights where restricted
    mlm  alpha_mlm      sum(weights [-log softmax(s at places)_labels])
    cos  alpha_cos      sum(token_weights [1 - h.g / sqrt((|h|^2 + 1e-12) (|g|^2 + 1e-12))])

with a cache, p = teacher_probabilities, and log q is taken at teacher_ids, with log(max(1 - sum q there, 1e-6)) for the
rest. A term whose alpha is 0 is not computed. Nothing flows back into the teacher, which runs without dropout.
In evaluation there are no token_weights: the only term then is `loss`, sum(weights [-log softmax(s)_labels]), without
alpha and without the teacher.

**A task** (`TaskDistillation`), L classes:

    input_ids, attention_mask    (B, T) int32
    teacher_logits, weights      (B, L), (B,) float32    absent in evaluation
    labels, label_weights        (B,) int32, float32     weight 0 where a text has no label

    ce     alpha_ce T0^2    sum(weights [sum_l p (log p - log q)])      p = softmax(teacher_logits / T0)
    label  alpha_label      sum(label_weights [-log softmax(s)_labels])

In evaluation there are `labels` and their `weights`, and the only term is `loss`, their cross-entropy.

`reference` has all of it in NumPy, with gradients. Each kind of weights adds up to 1 over the parts and processes of a
step (`batch.normalised`), so that every term is a mean over what it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from distilbert.outputs import ModelOutput
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.batch import WEIGHTS, Batch
from distilbert.training.distillation.cache import TeacherCache
from distilbert.training.distillation.corpus import NO_LABEL
from distilbert.training.distillation.examples import CorpusExamples
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.guesses import EVALUATION, Guesses, count_guesses, guess_scores
from distilbert.training.masking import Masked, Pieces, mask

TOKEN_WEIGHTS = "token_weights"
LABEL_WEIGHTS = "label_weights"


class Distillation:
    """Masked language modelling with a teacher; has what the loop and evaluations ask of a `TrainingTask`."""

    model_task: ClassVar[str] = "masked-lm"
    main_metric = "loss"

    def __init__(
        self,
        recipe: DistillRecipe,
        tokenizer: DistilBertTokenizer,
        counts: NDArray[np.int64] | None = None,
        cache: TeacherCache | None = None,
    ) -> None:
        """Say how batches are made.

        Args:
            recipe: of the training.
            tokenizer: of student and teacher.
            counts: (V,) of the pieces in the corpus, for `mlm_smoothing`.
            cache: the teacher's answers, complete; None where it is asked in training.
        """
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.cache = cache
        self._pieces = Pieces.of(tokenizer)
        self._rates: NDArray[np.float64] | None = None
        if recipe.mlm_smoothing and counts is not None:
            self._rates = np.maximum(counts, 1).astype(np.float64) ** -recipe.mlm_smoothing

    def config_changes(self) -> dict[str, Any]:
        """Nothing of the student's config follows from the data."""
        return {}

    def collate(
        self, examples: CorpusExamples, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None
    ) -> Batch:
        """A batch in training; in evaluation (`draws` None) without what comes from the teacher."""
        if draws is None:
            return self._masked_batch(examples, rows, length, None)[0]
        masking = draws[-1] % self.recipe.cache_masks
        if self.cache is not None:
            draws = (*draws[:-1], masking)
        batch, masked = self._masked_batch(examples, rows, length, draws)
        batch[TOKEN_WEIGHTS] = batch["attention_mask"].astype(np.float32)
        if self.cache is not None:
            batch |= self.cache.batch(rows, length, masked.places.shape[1], masking, self.recipe.temperature)
        return batch

    def collate_for_cache(self, examples: CorpusExamples, rows: NDArray[np.int64], length: int, masking: int) -> Batch:
        """What the teacher is shown for a cache: the batch that training makes in epochs of this masking."""
        return self._masked_batch(examples, rows, length, (self.recipe.seed, masking))[0]

    def masking_identity(self) -> dict[str, Any]:
        """What decides which tokens are masked, besides the texts."""
        names = ("seed", "mlm_probability", "mlm_smoothing", "whole_word_masking")
        return {name: getattr(self.recipe, name) for name in names}

    def kept(self, examples: CorpusExamples, row: int, answer: ModelOutput) -> Guesses:
        """How well the student guessed one text in evaluation; its logits (P, V) are too many to keep."""
        ids = examples[row][None, :]
        return count_guesses(answer, self._masked(ids, np.asarray([row]), None))

    def score(self, examples: CorpusExamples, answers: Sequence[Guesses]) -> dict[str, float]:
        """Share of the places guessed right, and perplexity."""
        return guess_scores(answers)

    def _masked_batch(
        self, examples: CorpusExamples, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None
    ) -> tuple[Batch, Masked]:
        masked = self._masked(examples.ids(rows, length), rows, draws)
        batch: Batch = {
            "input_ids": masked.input_ids,
            "attention_mask": attention_mask(examples, rows, length),
            "places": masked.places,
            "labels": masked.labels,
            WEIGHTS: masked.weights,
        }
        return batch, masked

    def _masked(self, ids: NDArray[np.int32], rows: NDArray[np.int64], draws: Sequence[int] | None) -> Masked:
        return mask(
            ids,
            self._pieces.maskable(ids),
            self._pieces.word_starts(ids) if self.recipe.whole_word_masking else None,
            self.recipe.mlm_probability,
            EVALUATION if draws is None else draws,
            rows,
            self._pieces,
            None if draws is None else self._rates,
        )


class TaskDistillation:
    """A task's answers learned from a fine-tuned teacher; has what the loop asks of a `TrainingTask`."""

    model_task: ClassVar[str] = "sequence-classification"
    main_metric = "accuracy"

    def __init__(self, recipe: DistillRecipe, logits: NDArray[np.float32]) -> None:
        """Say how batches are made.

        Args:
            recipe: of the training.
            logits: (N, L) of the teacher, for the examples to learn from.
        """
        self.recipe = recipe
        self.logits = logits

    def config_changes(self) -> dict[str, Any]:
        """Nothing: the classes are the teacher's."""
        return {}

    def collate(
        self, examples: CorpusExamples, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None
    ) -> Batch:
        """A batch in training; in evaluation (`draws` None) the labels alone count."""
        found = np.full(len(rows), NO_LABEL, np.int32) if examples.labels is None else examples.labels[rows]
        known = (found != NO_LABEL).astype(np.float32)
        batch: Batch = {
            "input_ids": examples.ids(rows, length),
            "attention_mask": attention_mask(examples, rows, length),
            "labels": np.maximum(found, 0),
        }
        if draws is None:
            return {**batch, WEIGHTS: known}
        return {
            **batch,
            "teacher_logits": self.logits[rows],
            WEIGHTS: np.ones(len(rows), np.float32),
            LABEL_WEIGHTS: known,
        }

    def kept(self, examples: CorpusExamples, row: int, answer: ModelOutput) -> int:
        """The class that the student takes a text for."""
        return int(answer.logits.argmax())

    def score(self, examples: CorpusExamples, answers: Sequence[int]) -> dict[str, float]:
        """Share of the labelled texts whose class is right."""
        labels = np.full(len(answers), NO_LABEL) if examples.labels is None else examples.labels
        known = labels != NO_LABEL
        return {"accuracy": float((np.asarray(answers) == labels)[known].mean()) if known.any() else 0.0}


def attention_mask(examples: CorpusExamples, rows: NDArray[np.int64], length: int) -> NDArray[np.int32]:
    """(B, length) 1 for tokens and 0 for padding."""
    return (np.arange(length) < examples.lengths[rows][:, None]).astype(np.int32)
