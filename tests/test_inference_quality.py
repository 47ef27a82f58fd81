# SPDX-License-Identifier: Apache-2.0
"""The gate before low precision: its measures for each task, and what it lets through. Models are tables here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distilbert.errors import InputError, QualityError
from distilbert.inference.quality import agreement, check_quality, probe, quality, rank_correlation
from distilbert.outputs import BaseModelOutput, QuestionAnsweringModelOutput, SequenceClassifierOutput

from .samples import TINY


class Table:
    """Answers a sequence by looking it up."""

    backend = "pt"

    def __init__(self, answers, task="sequence-classification", dtype="float32", num_labels=3):
        self.answers, self.task, self.dtype = answers, task, dtype
        self.config = TINY.replace(num_labels=num_labels)

    def run(self, sequences):
        return (self.answers[sequence[0]] for sequence in sequences)


def logits(*rows):
    return [SequenceClassifierOutput(logits=np.array(row, np.float32)) for row in rows]


RIGHT = logits([2, 0, 0], [0, 2, 0], [0, 0, 2], [0, 2, 1])
ITEMS = [[0], [1], [2], [3]]


def test_accuracy():
    assert quality(Table(RIGHT), ITEMS, [0, 1, 2, 1]) == 100
    assert quality(Table(RIGHT), ITEMS, [0, 1, 2, 2]) == 75


def test_accuracy_of_tokens_leaves_out_what_does_not_count():
    answers = logits([[2, 0, 0], [0, 2, 0]], [[0, 0, 2]])
    table = Table(answers, "token-classification")
    assert quality(table, [[0], [1]], [[0, -100], [1]]) == 50


def test_regression_is_a_rank_correlation():
    table = Table(logits([0.1], [0.7], [0.3]), num_labels=1)
    assert quality(table, [[0], [1], [2]], [1, 30, 2]) == pytest.approx(100)
    assert quality(table, [[0], [1], [2]], [30, 1, 2]) == pytest.approx(-100)


def test_spans_must_match_at_both_ends():
    answer = QuestionAnsweringModelOutput(start_logits=np.array([0, 3, 1]), end_logits=np.array([0, 1, 3]))
    table = Table([answer, answer], "question-answering")
    assert quality(table, [[0], [1]], [(1, 2), (1, 1)]) == 50


def test_an_encoder_is_measured_on_pairs():
    vectors = [[1, 0], [1, 0.1], [1, 0], [0, 1], [1, 0], [1, 1]]
    answers = [BaseModelOutput(last_hidden_state=np.array([vector], np.float32)) for vector in vectors]
    table = Table(answers, "encoder")
    assert quality(table, [[n] for n in range(6)], [5, 0, 2]) == pytest.approx(100)
    with pytest.raises(InputError, match="labels: expected 3 for 6 texts, found 6"):
        quality(table, [[n] for n in range(6)], range(6))


def test_ranks_share_ties():
    assert rank_correlation([1, 1, 2], [1, 1, 2]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)


def test_agreement():
    assert agreement(RIGHT, RIGHT) == pytest.approx(100)
    numbers = [np.random.default_rng(seed).normal(size=50) for seed in (0, 1)]
    expected = 100 * np.corrcoef(*numbers)[0, 1]
    assert agreement(logits(numbers[0]), logits(numbers[1])) == pytest.approx(expected)
    assert math.isnan(agreement(RIGHT, logits([math.nan] * 3, *[[0, 0, 0]] * 3)))


def test_the_gate():
    worse = Table(logits([2, 0, 0], [0, 2, 0], [0, 0, 2], [0, 1, 2]), dtype="int8")
    labels = [0, 1, 2, 1]
    with pytest.raises(QualityError, match="int8 on pt: expected to lose at most 1 points .*found 25.00"):
        check_quality(Table(RIGHT), worse, ITEMS, labels)
    assert check_quality(Table(RIGHT), worse, ITEMS, labels, max_drop=30) == 25
    assert check_quality(worse, Table(RIGHT), ITEMS, labels) == -25  # better is no drop
    broken = Table(logits(*[[math.nan] * 3] * 4), dtype="int8")
    with pytest.raises(QualityError, match="found nan"):
        check_quality(Table(RIGHT), broken, ITEMS)
    with pytest.raises(InputError, match="together with the sequences"):
        check_quality(Table(RIGHT), worse, labels=labels)


@pytest.mark.parametrize("task", ["encoder", "multiple-choice"])
def test_the_probe_is_the_same_every_time(task):
    table = Table([], task)
    assert probe(table) == probe(table)
    assert len(probe(table)) == 16
