# SPDX-License-Identifier: Apache-2.0
"""What low precision costs, measured on the user's own task, and refused where it costs too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distilbert.defaults import MAX_DROP
from distilbert.errors import InputError, QualityError
from distilbert.inputs import IGNORED_LABEL
from distilbert.outputs import ModelOutput

if TYPE_CHECKING:
    from distilbert.inference.fast_model import FastModel

Numbers = NDArray[np.float64]
Answers = Iterable[ModelOutput]

PROBE_SEQUENCES = 16
PROBE_TOKENS = 32


def check_quality(
    exact: FastModel,
    fast: FastModel,
    sequences: Iterable[Any] | None = None,
    labels: Sequence[Any] | None = None,
    max_drop: float = MAX_DROP,
) -> float:
    """How many points the low precision of `fast` costs against `exact`, the same model in float32.

    With labels a point is a percent of the task's own measure (`quality`). Without, it is a percent of the correlation
    between all numbers that the two answer.

    Args:
        exact: the float32 model.
        fast: the same model in another format.
        sequences: token ids of texts, as for `FastModel.run`; default drawn at random, the same ones every time.
        labels: what is right, as for `quality`.
        max_drop: points that may be lost.

    Raises:
        QualityError: the drop is larger, or answers are not finite.
        InputError: the labels do not fit.
    """
    if sequences is None and labels is not None:
        raise InputError("labels: expected together with the sequences that they belong to, found labels alone")
    items = list(probe(exact) if sequences is None else sequences)
    if labels is None:
        drop = 100 - agreement(exact.run(items), fast.run(items))
        measure = "correlation with the model's own answers"
    else:
        drop = quality(exact, items, labels) - quality(fast, items, labels)
        measure = "quality on the given labels"
    if not drop <= max_drop:
        raise QualityError(
            f"{fast.dtype} on {fast.backend}: expected to lose at most {max_drop:g} points of {measure} in "
            f"{len(items)} texts, found {drop:.2f}; use another dtype, or raise max_drop to accept it"
        )
    return drop


def quality(fast: FastModel, sequences: Iterable[Any], labels: Sequence[Any]) -> float:
    """How good answers are, from 0 to 100.

    Args:
        fast: the model.
        sequences: token ids of texts.
        labels: a class for each text or question; for regression a value (then 100 is a rank correlation of 1); for
            tokens and masked words a list of classes for each text, -100 where there is nothing to answer; for question
            answering (start, end); for an encoder the similarity of each two texts that follow one another, compared
            with the cosine of their mean vectors.

    Raises:
        InputError: there are not as many labels as answers.
    """
    answers = list(fast.run(sequences))
    expected = len(answers) // 2 if fast.task == "encoder" else len(answers)
    if len(labels) != expected or not answers:
        raise InputError(f"labels: expected {expected} for {len(answers)} texts, found {len(labels)}")
    if fast.task == "encoder":
        return 100 * rank_correlation(_cosines(answers), labels)
    if fast.task == "question-answering":
        spans = [(int(a.start_logits.argmax()), int(a.end_logits.argmax())) for a in answers]
        return 100 * float(np.mean([tuple(label) == span for label, span in zip(labels, spans, strict=True)]))
    if fast.task == "sequence-classification" and fast.config.num_labels == 1:
        return 100 * rank_correlation([float(a.logits[0]) for a in answers], labels)
    found = np.concatenate([np.atleast_1d(a.logits.argmax(-1)) for a in answers])
    wanted = np.concatenate([np.atleast_1d(label) for label in labels])
    if found.shape != wanted.shape:
        raise InputError(f"labels: expected {len(found)} classes in all, found {len(wanted)}")
    counted = wanted != IGNORED_LABEL
    return 100 * float(np.mean(found[counted] == wanted[counted]))


def agreement(exact: Answers, fast: Answers) -> float:
    """100 times the correlation between all numbers of two models' answers; NaN where one of them is not finite."""
    sums = np.zeros(5)
    count = 0
    for one, other in zip(exact, fast, strict=True):
        x, y = _numbers(one), _numbers(other)
        sums += x.sum(), y.sum(), x @ x, y @ y, x @ y
        count += len(x)
    if not np.isfinite(sums).all():
        return float("nan")
    mean_x, mean_y, xx, yy, xy = sums / count
    spread = np.sqrt(max(xx - mean_x**2, 0) * max(yy - mean_y**2, 0))
    return float(100 * (xy - mean_x * mean_y) / spread) if spread > 0 else 100.0 * bool(np.isclose(xx, yy))


def probe(fast: FastModel) -> list[Any]:
    """Sequences of random ids, in the form that the model's task takes."""
    random = np.random.default_rng(0)
    length = min(PROBE_TOKENS, fast.config.max_position_embeddings)

    def draw() -> list[int]:
        ids: list[int] = random.integers(0, fast.config.vocab_size, length).tolist()
        return ids

    return [[draw(), draw()] if fast.task == "multiple-choice" else draw() for _ in range(PROBE_SEQUENCES)]


def rank_correlation(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Spearman's, with ties sharing their mean rank."""
    return float(np.corrcoef(_ranks(found), _ranks(wanted))[0, 1])


def _ranks(values: Sequence[float]) -> Numbers:
    _, inverse, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: Numbers = (ends - (counts - 1) / 2)[inverse]
    return mean


def _cosines(answers: Sequence[ModelOutput]) -> list[float]:
    means = [answer.last_hidden_state.mean(0, dtype=np.float64) for answer in answers]
    units = [mean / np.linalg.norm(mean) for mean in means]
    return [float(one @ other) for one, other in zip(units[::2], units[1::2], strict=True)]


def _numbers(answer: ModelOutput) -> Numbers:
    return np.concatenate([np.ravel(field) for field in answer.to_tuple()]).astype(np.float64)
