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


def test_means_are_over_classes_that_occur() -> None:
    labels = np.array([0, 0, 2])
    assert metrics.single_label(labels, labels, 5)["f1_macro"] == 1
    assert metrics.token_scores(labels, labels) == {"precision": 1, "recall": 1, "f1": 1, "accuracy": 1}
    assert metrics.token_scores(labels, np.array([0, 0, 4]))["f1"] == pytest.approx(1 / 3)
    rows = np.array([[1, 0, 0], [0, 0, 1]], np.uint8)
    assert set(metrics.multi_label(rows, rows > 0).values()) == {1}
    assert metrics.multi_label(rows, np.array([[True, True, False]] * 2))["f1_macro"] == pytest.approx(2 / 9)
    nothing = np.zeros((2, 3), np.uint8)
    assert metrics.multi_label(nothing, nothing > 0) == {"f1_micro": 0, "f1_macro": 0, "accuracy": 1}


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


@pytest.mark.parametrize(
    ("found", "right", "expected"),
    [
        ("", ["the"], 100),  # nothing is left of "the": there is no answer
        ("a", ["the"], 100),
        ("x", ["the"], 0),
        ("", ["the", "cat"], 0),
        ("The", ["cat", "the"], 0),
        ("cats", ["the", "cats"], 100),
    ],
)
def test_right_answers_of_which_nothing_is_left(found: str, right: list[str], expected: int) -> None:
    assert metrics.answers([found], [right]) == {"exact_match": expected, "f1": expected}


# What seqeval says by default, worked out by its rules.
TAGGED = [
    ("B-A I-A O", [("A", 0, 2)]),
    ("B-A B-A", [("A", 0, 1), ("A", 1, 2)]),
    ("B-A I-B", [("A", 0, 1), ("B", 1, 2)]),
    ("O I-A I-A O I-A", [("A", 1, 3), ("A", 4, 5)]),
    ("I-A B-A I-A", [("A", 0, 1), ("A", 1, 3)]),
    ("B-A E-A I-A", [("A", 0, 2), ("A", 2, 3)]),
    ("S-A S-A I-A", [("A", 0, 1), ("A", 1, 2), ("A", 2, 3)]),
    ("B I I O", [("_", 0, 3)]),
    ("B I B O I", [("_", 0, 2), ("_", 2, 3), ("_", 4, 5)]),
    ("B M E S O", [("_", 0, 3), ("_", 3, 4)]),
    ("B I-A", [("_", 0, 1), ("A", 1, 2)]),
    ("B-P I-P L-P O", [("P", 0, 3)]),
    ("U-P U-Q O L-P", [("P", 0, 1), ("Q", 1, 2), ("P", 3, 4)]),
    ("U-P U-P", [("P", 0, 2)]),
    ("B-P L-P B-P L-P", [("P", 2, 4)]),  # nothing ends at L- where the kind stays
    ("B-P M-P E-P", [("P", 0, 3)]),
    ("B-P M-P E-P B-P M-P E-P S-P", [("P", 0, 3), ("P", 3, 6), ("P", 6, 7)]),
    ("O E-A E-A", [("A", 1, 2), ("A", 2, 3)]),
    ("B_PER I_PER O", [("_PER", 0, 2)]),
    ("PER PER O ORG A", [("PER", 0, 2), ("ORG", 3, 4), ("A", 4, 5)]),  # as we read tags that seqeval refuses
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
    assert has_entities(["B", "I"])
    assert has_entities(["B-A", "L-A", "U-A"])
    assert not has_entities(["NN", "VB", "X-Y"])
    assert not has_entities(["B", "X"])
    assert not has_entities(["0", "1"])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(BackendError, match=r'pip install "distilbert\[train\]"'):
        metrics.multi_label(np.ones((1, 2)), np.ones((1, 2)))
