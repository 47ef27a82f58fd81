# SPDX-License-Identifier: Apache-2.0
"""Metrics of training: against values by hand, the definitions of SQuAD, and seqeval's rules for entities."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from distilbert.errors import BackendError
from distilbert.pipelines import squad
from distilbert.training import metrics
from distilbert.training.entity_metrics import entities, entity_scores, has_entities


def test_single_label() -> None:
    found = metrics.single_label(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), 2)
    assert found["accuracy"] == 0.6
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["f1_macro"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert found["matthews_correlation"] == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))


def test_f1_of_one_label_is_of_two_labels_alone() -> None:
    found = metrics.single_label(np.array([0, 1, 2]), np.array([0, 1, 1]), 3)
    assert set(found) == {"accuracy", "f1_macro", "matthews_correlation"}
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_multi_label() -> None:
    labels = np.array([[1, 0, 0], [1, 1, 0]], np.uint8)
    found = metrics.multi_label(labels, np.array([[True, False, False], [False, True, True]]))
    assert found["f1_micro"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["accuracy"] == 0.5


def test_regression() -> None:
    labels = np.array([1.0, 2.0, 3.0, 4.0])
    found = metrics.regression(labels, np.array([1.0, 4.0, 9.0, 16.0]))
    assert found["spearmanr"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(np.corrcoef(labels, labels**2)[0, 1])
    assert found["mse"] == pytest.approx((0 + 4 + 36 + 144) / 4)


@pytest.mark.parametrize("count", [1, 3])
def test_an_undefined_correlation_is_none(count: int) -> None:
    found = metrics.regression(np.arange(count, dtype=float), np.ones(count))
    assert (found["pearson"], found["spearmanr"]) == (0, 0)


def test_answers_as_squad_has_them() -> None:
    found, right = ["The cat", "dog", "x"], [["cat"], ["a big dog", "dogs"], ["y"]]
    names = [str(number) for number in range(3)]
    expected = squad.evaluate(dict(zip(names, found, strict=True)), dict(zip(names, right, strict=True)))
    assert metrics.answers(found, right) == pytest.approx(expected)


def test_answers_where_some_questions_have_none() -> None:
    found = metrics.answers(["cat", "", "the", "x"], [["cat"], ["cat"], [], []])  # "the" is nothing once normalised
    assert found == {
        "exact_match": 50,
        "f1": 50,
        "HasAns_exact_match": 50,
        "HasAns_f1": 50,
        "NoAns_exact_match": 50,
        "NoAns_f1": 50,
    }


# What seqeval says by default, worked out by its rules.
TAGGED = [
    ("B-A I-A O", [("A", 0, 2)]),
    ("B-A B-A", [("A", 0, 1), ("A", 1, 2)]),
    ("B-A I-B", [("A", 0, 1), ("B", 1, 2)]),
    ("O I-A I-A O I-A", [("A", 1, 3), ("A", 4, 5)]),
    ("I-A B-A I-A", [("A", 0, 1), ("A", 1, 3)]),
    ("B-A E-A I-A", [("A", 0, 2), ("A", 2, 3)]),
    ("S-A S-A I-A", [("A", 0, 1), ("A", 1, 2), ("A", 2, 3)]),
    ("A A O B", [("A", 0, 2), ("B", 3, 4)]),
    ("B-long-name I-long-name", [("long-name", 0, 2)]),
    ("O O", []),
    ("", []),
]


@pytest.mark.parametrize(("tags", "expected"), TAGGED, ids=[tags for tags, _ in TAGGED])
def test_entities(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert [found[1:] for found in entities([tags.split()])] == expected


def test_entities_do_not_go_on_in_the_next_sentence() -> None:
    assert [found[:1] + found[2:] for found in entities([["B-A"], ["I-A"]])] == [(0, 0, 1), (1, 0, 1)]


def test_entity_scores() -> None:
    right = [["B-A", "I-A", "O"], ["B-B", "O", "B-A"]]
    answered = [["B-A", "O", "O"], ["B-B", "O", "B-A"]]
    found = entity_scores(right, answered)
    assert found == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
    assert entity_scores(right, [["O"] * 3] * 2) == {"precision": 0, "recall": 0, "f1": 0}
    assert entity_scores([["O"]], [["O"]])["f1"] == 0


def test_what_are_entities() -> None:
    assert has_entities(["B-A", "I-A"])
    assert has_entities(["PER", "O"])
    assert not has_entities(["NN", "VB", "X-Y"])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(BackendError, match=r'pip install "distilbert\[train\]"'):
        metrics.multi_label(np.ones((1, 2)), np.ones((1, 2)))
