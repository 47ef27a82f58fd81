# SPDX-License-Identifier: Apache-2.0
"""How good answers are, by the usual metrics; through scikit-learn and SciPy where these have them.

A correlation or share that is undefined, as where all answers are the same, is 0. Means over classes (macro) are over
those that occur among labels or answers, as in scikit-learn: one that does not occur can be neither right nor wrong.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import BackendError
from distilbert.pipelines import squad

Array = NDArray[Any]


def single_label(labels: Array, answers: Array, count: int) -> dict[str, float]:
    """Accuracy, F1 and Matthews' correlation; F1 is that of label 1 where there are two, else there is only its mean.

    Args:
        labels: (N,) right classes.
        answers: (N,) classes.
        count: of classes.
    """
    sk = _module("sklearn.metrics")
    found = {
        "accuracy": float(np.mean(labels == answers)),
        "f1_macro": sk.f1_score(labels, answers, average="macro", zero_division=0),
        "matthews_correlation": _matthews(labels, answers),
    }
    if count == 2:
        found["f1"] = sk.f1_score(labels, answers, pos_label=1, zero_division=0)
    return {name: float(value) for name, value in found.items()}


def _matthews(labels: Array, answers: Array) -> float:
    """Of classes; 0 where all are the same, of which scikit-learn would warn."""
    if len(np.unique(np.concatenate([labels, answers]))) < 2:
        return 0.0
    return float(_module("sklearn.metrics").matthews_corrcoef(labels, answers))


def multi_label(labels: Array, answers: Array) -> dict[str, float]:
    """F1 over all labels together (micro), its mean over labels (macro), and how often all labels of a row are right.

    Args:
        labels: (N, L) 1 for each right label.
        answers: (N, L) 1 or True for each label answered.
    """
    sk = _module("sklearn.metrics")
    answers = answers.astype(labels.dtype)
    occurring = np.flatnonzero((labels + answers).any(0))
    if not len(occurring):
        return {"f1_micro": 0.0, "f1_macro": 0.0, "accuracy": 1.0}
    return {
        "f1_micro": float(sk.f1_score(labels, answers, average="micro", zero_division=0)),
        "f1_macro": float(sk.f1_score(labels, answers, labels=occurring, average="macro", zero_division=0)),
        "accuracy": float(np.mean((labels == answers).all(1))),
    }


def token_scores(labels: Array, answers: Array) -> dict[str, float]:
    """Precision, recall and F1, each the mean over classes, and accuracy of tokens whose labels are no entities.

    Args:
        labels: (N,) right classes.
        answers: (N,) classes.
    """
    score = _module("sklearn.metrics").precision_recall_fscore_support
    found = score(labels, answers, average="macro", zero_division=0)
    accuracy = float(np.mean(labels == answers))
    return {**dict(zip(("precision", "recall", "f1"), map(float, found[:3]), strict=True)), "accuracy": accuracy}


def regression(labels: Array, answers: Array) -> dict[str, float]:
    """Pearson's and Spearman's correlation, and the mean squared error.

    Args:
        labels: (N,) right numbers.
        answers: (N,) numbers.
    """
    stats = _module("scipy.stats")
    wanted, found = labels.astype(np.float64), answers.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant answers; the result is NaN, and here 0
        several = len(wanted) > 1
        pearson = stats.pearsonr(wanted, found).statistic if several else np.nan
        spearman = stats.spearmanr(wanted, found).statistic if several else np.nan
    return {
        "pearson": float(np.nan_to_num(pearson)),
        "spearmanr": float(np.nan_to_num(spearman)),
        "mse": float(np.mean((wanted - found) ** 2)),
    }


def answers(found: Sequence[str], right: Sequence[Sequence[str]]) -> dict[str, float]:
    """SQuAD 2.0's exact match and F1 in percent; apart for questions with and without an answer where some have none.

    Args:
        found: an answer to each question, empty for none.
        right: the right answers of each question, of which the most similar one counts; none where there is none.
    """
    scores = np.array(list(map(_answer_scores, found, right))).reshape(-1, 2)
    has_answer = np.array([bool(texts) for texts in right], bool)
    kinds = [("", np.ones(len(right), bool))]
    if not has_answer.all():
        kinds += [("HasAns_", has_answer), ("NoAns_", ~has_answer)]
    return {
        f"{prefix}{name}": float(100 * scores[chosen, place].mean())
        for prefix, chosen in kinds
        if chosen.any()
        for place, name in enumerate(("exact_match", "f1"))
    }


def _answer_scores(found: str, right: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of one answer; a right answer of which nothing is left once normalised is none."""
    texts = [text for text in right if squad.normalize(text)] or [""]
    exact = max(squad.exact_match(found, text) for text in texts)
    return exact, max(exact, *(squad.f1(found, text) for text in texts))  # F1 has no words to count in ""


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BackendError('metrics need scikit-learn\n  install:  pip install "distilbert[train]"') from None
